//! Every row of the classification table, as EC2 sends it.

use super::fake::{Fake, Fault};
use super::*;

/// What core hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Heard {
    Again,
    FallBack,
    Hold,
    Fatal,
    Adopt,
}

async fn heard(status: u16, code: &'static str, message: &str) -> (Heard, String) {
    let fake = Fake::start().await;
    let provisioner = provisioner(&fake).await;
    fake.fail("RunInstances", [Fault::Refuse(status, code, message.to_owned())]);
    let answer = launch(&provisioner, sample::worker_id(1)).await;
    assert_eq!(fake.calls("RunInstances").len(), 1, "whether it is repeated is core's decision: {code}");
    match answer {
        LaunchAnswer::Unknown { message } => (Heard::Again, message),
        LaunchAnswer::FallBack { message } => (Heard::FallBack, message),
        LaunchAnswer::Hold { message } => (Heard::Hold, message),
        LaunchAnswer::Fatal { message, hint } => {
            assert!(hint.is_some(), "whoever has to act is told how: {code}");
            (Heard::Fatal, message)
        }
        LaunchAnswer::Adopt => (Heard::Adopt, String::new()),
        LaunchAnswer::Launched(machine) => panic!("{code} made {machine}"),
    }
}

macro_rules! rows {
    ($($name:ident: $status:literal $code:literal => $heard:ident;)*) => {$(
        #[tokio::test]
        async fn $name() {
            let (heard, message) = heard($status, $code, "as EC2 words it").await;
            assert_eq!(heard, Heard::$heard, "{message}");
            if heard != Heard::Adopt {
                assert!(message.contains($code) && message.contains("as EC2 words it"), "{message}");
            }
        }
    )*};
}

rows! {
    request_limit_exceeded: 503 "RequestLimitExceeded" => Again;
    throttling: 400 "Throttling" => Again;
    throttling_exception: 400 "ThrottlingException" => Again;
    internal_error: 500 "InternalError" => Again;
    internal_failure: 500 "InternalFailure" => Again;
    service_unavailable: 503 "ServiceUnavailable" => Again;
    unavailable: 503 "Unavailable" => Again;
    request_expired: 400 "RequestExpired" => Again;
    a_server_error_that_nobody_knows: 502 "SomethingNew" => Again;

    insufficient_instance_capacity: 500 "InsufficientInstanceCapacity" => FallBack;
    insufficient_host_capacity: 500 "InsufficientHostCapacity" => FallBack;
    insufficient_reserved_instance_capacity: 500 "InsufficientReservedInstanceCapacity" => FallBack;
    insufficient_capacity: 400 "InsufficientCapacity" => FallBack;
    unfulfillable_capacity: 400 "UnfulfillableCapacity" => FallBack;
    insufficient_volume_capacity: 500 "InsufficientVolumeCapacity" => FallBack;
    insufficient_free_addresses_in_subnet: 400 "InsufficientFreeAddressesInSubnet" => FallBack;
    unsupported: 400 "Unsupported" => FallBack;
    spot_max_price_too_low: 400 "SpotMaxPriceTooLow" => FallBack;
    max_spot_instance_count_exceeded: 400 "MaxSpotInstanceCountExceeded" => FallBack;
    idempotent_instance_terminated: 400 "IdempotentInstanceTerminated" => FallBack;

    vcpu_limit_exceeded: 400 "VcpuLimitExceeded" => Hold;
    instance_limit_exceeded: 400 "InstanceLimitExceeded" => Hold;
    resource_limit_exceeded: 400 "ResourceLimitExceeded" => Hold;
    volume_limit_exceeded: 400 "VolumeLimitExceeded" => Hold;
    max_iops_limit_exceeded: 400 "MaxIOPSLimitExceeded" => Hold;
    network_interface_limit_exceeded: 400 "NetworkInterfaceLimitExceeded" => Hold;
    pending_verification: 400 "PendingVerification" => Hold;
    a_code_that_nobody_knows: 400 "SomethingNew" => Hold;

    unauthorized_operation: 403 "UnauthorizedOperation" => Fatal;
    auth_failure: 401 "AuthFailure" => Fatal;
    opt_in_required: 401 "OptInRequired" => Fatal;
    blocked: 403 "Blocked" => Fatal;
    invalid_ami_not_found: 400 "InvalidAMIID.NotFound" => Fatal;
    invalid_ami_malformed: 400 "InvalidAMIID.Malformed" => Fatal;
    invalid_ami_unavailable: 400 "InvalidAMIID.Unavailable" => Fatal;
    invalid_subnet: 400 "InvalidSubnetID.NotFound" => Fatal;
    invalid_group: 400 "InvalidGroup.NotFound" => Fatal;
    invalid_user_data: 400 "InvalidUserData.Malformed" => Fatal;
    invalid_block_device_mapping: 400 "InvalidBlockDeviceMapping" => Fatal;
    invalid_parameter_value: 400 "InvalidParameterValue" => Fatal;
    invalid_parameter_combination: 400 "InvalidParameterCombination" => Fatal;
    invalid_parameter: 400 "InvalidParameter" => Fatal;
    missing_parameter: 400 "MissingParameter" => Fatal;

    idempotent_parameter_mismatch: 400 "IdempotentParameterMismatch" => Adopt;
}

const NO_PROFILE: &str =
    "Value (etl) for parameter iamInstanceProfile.name is invalid. Invalid IAM Instance Profile name";

#[tokio::test]
async fn a_profile_that_may_still_spread_is_tried_again() {
    let (heard, message) = heard(400, "InvalidParameterValue", NO_PROFILE).await;
    assert_eq!(heard, Heard::Again, "{message}");
}

#[test]
fn a_profile_that_did_not_spread_in_two_minutes_is_wrong() {
    let code = Some("InvalidParameterValue".to_owned());
    let refusal = crate::answer::Refusal { status: 400, code, message: NO_PROFILE.into() };
    let at = |seconds| refusal.answer(Duration::from_secs(seconds));
    assert!(matches!(at(119), LaunchAnswer::Unknown { .. }));
    assert!(matches!(at(120), LaunchAnswer::Fatal { .. }));
}

#[tokio::test]
async fn what_only_aws_can_read_is_left_out() {
    let refused =
        "You are not authorized to perform this operation. Encoded authorization failure message: Qz9x";
    let (_, message) = heard(403, "UnauthorizedOperation", refused).await;
    assert!(message.contains("not authorized") && !message.contains("Qz9x"), "{message}");
}

#[tokio::test]
async fn an_answer_in_no_language_of_ec2_holds_or_is_asked_again() {
    for (status, again) in [(403, false), (502, true)] {
        let fake = Fake::start().await;
        let provisioner = provisioner(&fake).await;
        fake.fail("RunInstances", [Fault::Say(status, "<html>a proxy was here</html>".into())]);
        let answer = launch(&provisioner, sample::worker_id(1)).await;
        assert_eq!(matches!(answer, LaunchAnswer::Unknown { .. }), again, "{answer:?}");
        assert_eq!(matches!(answer, LaunchAnswer::Hold { .. }), !again, "{answer:?}");
    }
}

#[tokio::test]
async fn without_credentials_nothing_is_known_and_the_reason_is_said() {
    let fake = Fake::start().await;
    let candidate = candidate(&provisioner(&fake).await).await;
    let mut account = account(&fake).await;
    let config = account.config.to_builder().credentials_provider(crate::call::no_credentials()).build();
    account.ec2_once = aws_sdk_ec2::Client::new(&config);
    let provisioner = of_account(account, options());
    let answer = provisioner.launch(sample::worker_id(1), candidate).await;
    assert!(
        matches!(&answer, LaunchAnswer::Unknown { message } if message.contains("credentials")),
        "{answer:?}"
    );
}
