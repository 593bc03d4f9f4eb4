//! What the supervisor's role may do. A dry run says whether a call would be allowed, and does not do it.

use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use data_runner_core::port::{Finding, LaunchAnswer};
use data_runner_core::worker::{Candidate, MachineState};

use super::{as_spot, nobody};
use crate::answer::Refusal;
use crate::call::{AwsAccount, CallError, in_words};
use crate::launch::Launcher;
use crate::list::Fleet;
use crate::pinned::PinnedRequest;

/// What a dry run answers when the call would be allowed.
const WOULD_BE_ALLOWED: &str = "DryRunOperation";

const POLICY: &str = "give the supervisor's role the policy in deploy/iam";

/// What is read all the time.
pub(super) async fn reads(account: &AwsAccount) -> Vec<Finding> {
    let ec2 = &account.ec2;
    vec![
        dry("ec2:DescribeInstances", ec2.describe_instances().dry_run(true).send().await),
        dry("ec2:DescribeImages", ec2.describe_images().owners("self").dry_run(true).send().await),
        dry(
            "ec2:DescribeSpotPriceHistory",
            ec2.describe_spot_price_history().max_results(5).dry_run(true).send().await,
        ),
    ]
}

/// The launch as it would be, tags and profile included, from both markets.
pub(super) async fn launches(
    account: &AwsAccount,
    launcher: &Launcher,
    candidate: &Candidate,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (check, candidate) in
        [("ec2:RunInstances", candidate.clone()), ("ec2:RunInstances (spot)", as_spot(candidate))]
    {
        findings.push(launch(account, launcher, check, &candidate).await);
    }
    findings
}

async fn launch(account: &AwsAccount, launcher: &Launcher, check: &str, candidate: &Candidate) -> Finding {
    let pinned = match PinnedRequest::of(candidate) {
        Ok(pinned) => pinned,
        Err(error) => return Finding::bad(check, error.to_string(), "report this"),
    };
    let request = match launcher.request(nobody(), candidate, &pinned).await {
        Ok(request) => request.dry_run(true),
        Err(answer) => return of_answer(check, answer),
    };
    let asked = request.send_with(&account.ec2_once).await;
    match asked.map_err(|error| CallError::of("RunInstances", error)) {
        Err(CallError::Refused { code: Some(code), .. }) if code == WOULD_BE_ALLOWED => {
            Finding::good(check, "allowed, with its tags, its network and its profile")
        }
        Ok(_) => Finding::good(check, "allowed"),
        Err(CallError::Refused { status, code, message, .. }) => {
            of_answer(check, Refusal { status, code, message }.answer(std::time::Duration::MAX))
        }
        Err(error @ (CallError::NotAsked { .. } | CallError::NoAnswer { .. })) => {
            Finding::bad(check, in_words(&error), "look at the network and the region")
        }
    }
}

/// What a launch would have been answered.
fn of_answer(check: &str, answer: LaunchAnswer) -> Finding {
    match answer {
        LaunchAnswer::Fatal { message, hint } => {
            Finding::bad(check, message, hint.unwrap_or_else(|| POLICY.to_owned()))
        }
        LaunchAnswer::FallBack { message }
        | LaunchAnswer::Hold { message }
        | LaunchAnswer::Unknown { message } => Finding::warning(check, message, "try again later"),
        LaunchAnswer::Adopt | LaunchAnswer::Launched(_) => Finding::good(check, "allowed"),
    }
}

/// What is done with machines that bear our tag. The rights depend on the tag, so they are proved on one that has it.
pub(super) async fn on_machines(account: &AwsAccount, fleet: &Fleet) -> Vec<Finding> {
    const CHECK: &str = "ec2:TerminateInstances";
    let machines = match fleet.list().await {
        Ok(machines) => machines,
        Err(error) => return vec![Finding::bad("machines", in_words(&error), POLICY)],
    };
    let alive = machines.iter().find(|machine| !matches!(machine.state, MachineState::Terminated { .. }));
    let Some(machine) = alive else {
        let why = "not proved: the right depends on our tag, and there is no machine that bears it";
        return vec![Finding::warning(CHECK, why, "ask again while an execution runs")];
    };
    let (ec2, id) = (&account.ec2, machine.id.as_str());
    vec![
        dry(CHECK, ec2.terminate_instances().instance_ids(id).dry_run(true).send().await),
        dry("ec2:GetConsoleOutput", ec2.get_console_output().instance_id(id).dry_run(true).send().await),
    ]
}

/// The list prices: without them there are the bundled ones.
pub(super) async fn prices(account: &AwsAccount) -> Finding {
    match crate::prices::Prices::new(account.clone()).list_price("t3.medium").await {
        Ok(Some(_)) => Finding::good("pricing:GetProducts", "AWS says its prices"),
        Ok(None) => Finding::warning("pricing:GetProducts", "AWS says no price", BUNDLED),
        Err(error) => Finding::warning("pricing:GetProducts", in_words(&error), BUNDLED),
    }
}

const BUNDLED: &str = "nothing, if the bundled prices will do; else allow pricing:GetProducts";

fn dry<T, E>(right: &str, asked: Result<T, SdkError<E, HttpResponse>>) -> Finding
where
    E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
{
    match asked.map_err(|error| CallError::of("a dry run", error)) {
        Ok(_) => Finding::good(right, "allowed"),
        Err(error) if error.is(WOULD_BE_ALLOWED) => Finding::good(right, "allowed"),
        Err(error) if error.is("Unauthorized") => Finding::bad(right, "not allowed", POLICY),
        Err(error) => Finding::bad(right, in_words(&error), POLICY),
    }
}
