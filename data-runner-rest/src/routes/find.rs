//! From what a path names to what is meant.

use data_runner_core::execution::Execution;
use data_runner_core::id::ExecutionId;
use data_runner_core::port::ExecutionQuery;
use data_runner_engine::Handle;

use crate::http::refusal::{Kind, Refusal};

/// The shortest prefix of an id that is looked up.
const SHORTEST_PREFIX: usize = 4;

/// The id that is meant by an id, by an unambiguous prefix of one, or by `latest`.
pub(crate) async fn execution_id(handle: &Handle, given: &str) -> Result<ExecutionId, Refusal> {
    if let Ok(id) = given.parse() {
        return Ok(id);
    }
    if given == "latest" {
        let query = ExecutionQuery { limit: 1, ..ExecutionQuery::default() };
        let newest = handle.catalog().executions(query).await?.into_iter().next();
        return newest
            .map(|execution| execution.id)
            .ok_or_else(|| Refusal::new(Kind::ExecutionNotFound, "there is no execution yet"));
    }
    let is_prefix =
        given.len() >= SHORTEST_PREFIX && given.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if !is_prefix {
        return Err(unknown(given)
            .hinting("an execution is named by its id, 4 or more of its first digits, or `latest`"));
    }
    let found = handle.catalog().executions_by_prefix(&given.to_ascii_lowercase(), 5).await?;
    match found[..] {
        [] => Err(unknown(given)),
        [id] => Ok(id),
        [..] => {
            let candidates: Vec<String> = found.iter().map(ToString::to_string).collect();
            Err(Refusal::new(Kind::Ambiguous, format!("{given:?} is the beginning of more than one id"))
                .hinting(format!("the newest of them: {}", candidates.join(", "))))
        }
    }
}

/// The execution that is meant.
pub(crate) async fn execution(handle: &Handle, given: &str) -> Result<Execution, Refusal> {
    let id = execution_id(handle, given).await?;
    handle.catalog().execution(id).await?.ok_or_else(|| unknown(given))
}

fn unknown(given: &str) -> Refusal {
    Refusal::new(Kind::ExecutionNotFound, format!("there is no execution {given:?}"))
}
