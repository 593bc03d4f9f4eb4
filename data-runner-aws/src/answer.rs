//! What EC2's answers to a launch mean: one table.
//!
//! A code decides, whatever the status: EC2 sends some of its "no capacity" as a server's error. What is not in the
//! table holds the launch and is said loudly, because neither to go on nor to give up is safe when the reason is unknown.

use std::time::Duration;

use data_runner_core::port::LaunchAnswer;

/// How long a new instance profile may take until EC2 knows it everywhere.
const PROFILE_SPREADS: Duration = Duration::from_secs(120);

/// A launch that EC2 refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The status of the response.
    pub status: u16,
    /// EC2's code, if it said one.
    pub code: Option<String>,
    /// EC2's words.
    pub message: String,
}

/// What a row of the table asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// The same again.
    Retry,
    /// The same again while a new instance profile spreads, then it is wrong.
    ProfileSpreads,
    /// The next type, zone or market.
    FallBack,
    /// The machine of this token is dead: the next candidate has a token of its own.
    NewToken,
    /// Nothing can be launched now, and people should know.
    Hold,
    /// It needs a person.
    Fatal,
    /// A machine of this token exists and was asked for in other words.
    Adopt,
}

struct Row {
    /// The code; one that ends in `*` is a beginning.
    code: &'static str,
    /// What the message must name, without blanks and in small letters.
    naming: Option<&'static str>,
    class: Class,
    /// What happened, in people's words.
    says: &'static str,
    /// What to do.
    hint: Option<&'static str>,
}

const fn row(class: Class, code: &'static str, says: &'static str) -> Row {
    Row { code, naming: None, class, says, hint: None }
}

const fn fatal(code: &'static str, says: &'static str, hint: &'static str) -> Row {
    Row { code, naming: None, class: Class::Fatal, says, hint: Some(hint) }
}

/// The first row that matches counts.
const TABLE: &[Row] = {
    use Class::{Adopt, FallBack, Hold, NewToken, ProfileSpreads, Retry};
    const BUSY: &str = "EC2 asks for patience";
    const FAULT: &str = "EC2 has a fault of its own";
    const NO_CAPACITY: &str = "EC2 has no capacity for it";
    const QUOTA: &str = "a limit of the account is reached";
    const RIGHTS: &str = "run `data-runner-supervisor doctor`; the policy that is needed is in deploy/iam";
    const ACCOUNT: &str = "look at the account's messages in the AWS console";
    const SETTINGS: &str = "correct the `ec2` block of supervisor.yaml or the workflow's `compute` block";
    &[
        row(Retry, "RequestLimitExceeded", BUSY),
        row(Retry, "Throttling*", BUSY),
        row(Retry, "InternalError", FAULT),
        row(Retry, "InternalFailure", FAULT),
        row(Retry, "ServiceUnavailable", FAULT),
        row(Retry, "Unavailable", FAULT),
        row(Retry, "RequestExpired", "the request was too old for EC2: is the clock right?"),
        Row {
            code: "InvalidParameterValue",
            naming: Some("iaminstanceprofile"),
            class: ProfileSpreads,
            says: "EC2 does not know the instance profile",
            hint: Some("create the instance profile, or correct `instance_profile`"),
        },
        row(FallBack, "InsufficientInstanceCapacity", NO_CAPACITY),
        row(FallBack, "InsufficientHostCapacity", NO_CAPACITY),
        row(FallBack, "InsufficientReservedInstanceCapacity", NO_CAPACITY),
        row(FallBack, "InsufficientCapacity", NO_CAPACITY),
        row(FallBack, "UnfulfillableCapacity", NO_CAPACITY),
        row(FallBack, "InsufficientVolumeCapacity", "EC2 has no room for its volume"),
        row(FallBack, "InsufficientFreeAddressesInSubnet", "the subnet has no free address"),
        row(FallBack, "Unsupported", "EC2 does not have this type there"),
        row(FallBack, "SpotMaxPriceTooLow", "the spot price is too high"),
        row(FallBack, "MaxSpotInstanceCountExceeded", "the account has as many spot machines as it may"),
        row(Hold, "VcpuLimitExceeded", QUOTA),
        row(Hold, "InstanceLimitExceeded", QUOTA),
        row(Hold, "ResourceLimitExceeded", QUOTA),
        row(Hold, "VolumeLimitExceeded", QUOTA),
        row(Hold, "MaxIOPSLimitExceeded", QUOTA),
        row(Hold, "NetworkInterfaceLimitExceeded", QUOTA),
        row(Hold, "PendingVerification", "AWS is still checking the account for this region"),
        fatal("UnauthorizedOperation", "the supervisor's role may not do this", RIGHTS),
        fatal("AuthFailure", "AWS does not accept the supervisor's credentials", RIGHTS),
        fatal("OptInRequired", "the account has not subscribed to what is asked for", ACCOUNT),
        fatal("Blocked", "AWS has blocked the account", ACCOUNT),
        fatal("InvalidAMIID.*", "there is no such image", SETTINGS),
        fatal("InvalidSubnetID.NotFound", "there is no such subnet", SETTINGS),
        fatal("InvalidGroup.NotFound", "there is no such security group", SETTINGS),
        fatal("InvalidUserData.Malformed", "EC2 cannot read the machine's user-data", SETTINGS),
        fatal("InvalidBlockDeviceMapping", "the root volume does not fit the image", SETTINGS),
        fatal("InvalidParameter*", "EC2 does not accept the request", SETTINGS),
        fatal("MissingParameter", "EC2 does not accept the request", SETTINGS),
        row(Adopt, "IdempotentParameterMismatch", "a machine of this launch may exist"),
        row(NewToken, "IdempotentInstanceTerminated", "the machine of this launch has ended already"),
    ]
};

impl Row {
    fn matches(&self, code: &str, message: &str) -> bool {
        let code_matches = match self.code.strip_suffix('*') {
            Some(beginning) => code.starts_with(beginning),
            None => code == self.code,
        };
        code_matches && self.naming.is_none_or(|named| bare(message).contains(named))
    }
}

/// Without blanks and in small letters: EC2 writes "iamInstanceProfile" and "IAM Instance Profile".
fn bare(message: &str) -> String {
    message.chars().filter(|c| !c.is_whitespace()).map(|c| c.to_ascii_lowercase()).collect()
}

impl Refusal {
    /// What core is answered. `since_first` is how long ago this launch was refused for its instance profile first.
    pub fn answer(&self, since_first: Duration) -> LaunchAnswer {
        let code = self.code.as_deref().unwrap_or_default();
        let row = TABLE.iter().find(|row| row.matches(code, &self.message));
        let Some(row) = row else {
            let message = self.in_words("EC2 refuses, for a reason that is not known here");
            return if self.status >= 500 {
                LaunchAnswer::Unknown { message }
            } else {
                LaunchAnswer::Hold { message }
            };
        };
        let message = self.in_words(row.says);
        match row.class {
            Class::Retry => LaunchAnswer::Unknown { message },
            Class::ProfileSpreads if since_first < PROFILE_SPREADS => LaunchAnswer::Unknown { message },
            Class::ProfileSpreads | Class::Fatal => {
                LaunchAnswer::Fatal { message, hint: row.hint.map(ToOwned::to_owned) }
            }
            Class::FallBack | Class::NewToken => LaunchAnswer::FallBack { message },
            Class::Hold => LaunchAnswer::Hold { message },
            Class::Adopt => LaunchAnswer::Adopt,
        }
    }

    /// Whether it is about an instance profile that may still spread.
    pub fn names_a_profile(&self) -> bool {
        let code = self.code.as_deref().unwrap_or_default();
        TABLE
            .iter()
            .find(|row| row.matches(code, &self.message))
            .is_some_and(|row| row.class == Class::ProfileSpreads)
    }

    fn in_words(&self, says: &str) -> String {
        let code = self.code.clone().unwrap_or_else(|| format!("status {}", self.status));
        // A refusal for want of rights ends in kilobytes that only AWS can read.
        let message = self.message.split("Encoded authorization failure").next().unwrap_or_default().trim();
        if message.is_empty() { format!("{says} ({code})") } else { format!("{says} ({code}: {message})") }
    }
}
