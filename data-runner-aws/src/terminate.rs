//! Ends machines, many in one call.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_runner_core::id::MachineId;

use crate::call::{AwsAccount, CallError};

/// The most that one call ends; EC2 recommends no more.
const BATCH: usize = 100;

/// Refusals that are about one machine of the batch. EC2 then ends none of them, so the batch is split until the one is
/// alone.
const ABOUT_ONE: [&str; 4] =
    ["InvalidInstanceID", "OperationNotPermitted", "IncorrectInstanceState", "UnsupportedOperation"];

/// Asks for the end of each; answers in their order. One that EC2 does not know is no error, and no proof either: it may
/// be too young to be known everywhere.
pub(crate) async fn terminate(
    account: &AwsAccount,
    asked: Vec<MachineId>,
) -> Vec<Result<(), Arc<CallError>>> {
    let mut distinct = asked.clone();
    distinct.sort();
    distinct.dedup();
    let mut batches: Vec<Vec<MachineId>> = distinct.chunks(BATCH).map(<[_]>::to_vec).collect();
    let mut failed: BTreeMap<MachineId, Arc<CallError>> = BTreeMap::new();
    while let Some(mut batch) = batches.pop() {
        let Err(error) = terminate_batch(account, &batch).await else {
            continue;
        };
        if batch.len() > 1 && ABOUT_ONE.iter().any(|code| error.is(code)) {
            let rest = batch.split_off(batch.len() / 2);
            batches.extend([rest, batch]);
        } else if !error.is("InvalidInstanceID") {
            let error = Arc::new(error);
            failed.extend(batch.into_iter().map(|id| (id, Arc::clone(&error))));
        }
    }
    asked.iter().map(|id| failed.get(id).map_or(Ok(()), |error| Err(Arc::clone(error)))).collect()
}

async fn terminate_batch(account: &AwsAccount, batch: &[MachineId]) -> Result<(), CallError> {
    account.throttle.terminate_instances.take().await;
    let ids = batch.iter().map(|id| id.as_str().to_owned()).collect();
    let asked = account.ec2_once.terminate_instances().set_instance_ids(Some(ids)).send().await;
    asked.map(drop).map_err(|error| CallError::of("TerminateInstances", error))
}
