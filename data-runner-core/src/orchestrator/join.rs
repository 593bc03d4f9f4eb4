//! Agents of our machines that prove who they are.

use std::sync::Arc;

use super::{Orchestrator, Turn};
use crate::event::{Answer, Rejection};
use crate::id::{Sha256, WorkerId};
use crate::worker::{Origin, WorkerState};

impl Orchestrator {
    /// Binds the worker to its agent's public key. The token was checked already; it is good for one key, while the
    /// machine may still join, and again for the same key later, since a reply can be lost.
    pub(super) fn join(&mut self, id: WorkerId, key: Sha256, turn: &mut Turn<'_>) -> Answer {
        let refused = Answer::Rejected(Rejection::NotWelcome(id));
        let Some(mut worker) = self.workers.get(&id).cloned() else {
            return refused;
        };
        let in_time = worker.deadline().is_none_or(|deadline| turn.now.wall < deadline);
        let may_join = match (worker.origin, &worker.state) {
            (Origin::Provisioned, WorkerState::Launching { .. }) => in_time,
            (Origin::Provisioned, WorkerState::Booting { since, .. }) => {
                in_time && turn.now.wall < since.after(self.policy.join_within)
            }
            (
                Origin::Provisioned,
                WorkerState::Idle { .. } | WorkerState::Busy { .. } | WorkerState::Draining { .. },
            ) => worker.joined_with.is_some(),
            (
                Origin::Provisioned,
                WorkerState::Planning { .. }
                | WorkerState::Terminating { .. }
                | WorkerState::Terminated { .. },
            )
            | (Origin::Joined, _) => false,
        };
        if !may_join || worker.joined_with.as_ref().is_some_and(|known| *known != key) {
            return refused;
        }
        if worker.joined_with.is_none() {
            Arc::make_mut(&mut worker).joined_with = Some(key);
            turn.record_worker(id, "its agent joined");
            self.put_worker(Arc::clone(&worker), turn);
        }
        Answer::Worker(Box::new(Arc::unwrap_or_clone(worker)))
    }
}
