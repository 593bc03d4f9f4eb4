//! Doing what was decided, after it is committed. Everything here may be repeated without harm.

use std::sync::Arc;

use data_runner_core::event::{Effect, Event, PlanFailure};
use data_runner_core::port::{ProvisionError, Provisioner};
use data_runner_core::workflow::Start;

use super::actor::Actor;
use crate::chain::chain;

impl Actor {
    pub(super) async fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Reply { to, answer } => self.answer(to, Ok(answer)),
            Effect::Send { session, message } => {
                if let Err(error) = self.transport.send(session, *message).await {
                    // The session's end is an event of its own; at the next Hello the agent is told again.
                    tracing::debug!(%session, error = &error as &dyn std::error::Error, "a message was not taken");
                }
            }
            Effect::CloseSession { session } => self.transport.close(session).await,
            Effect::Plan { worker, request } => self.ask_provisioner(move |provisioner| async move {
                let result = provisioner.plan(*request).await.map_err(|error| match error {
                    ProvisionError::Rejected { message, hint } => PlanFailure::Rejected { message, hint },
                    ProvisionError::Unavailable(_) => PlanFailure::Unavailable { message: chain(&error) },
                });
                Some(Event::Planned { worker, result })
            }),
            Effect::Launch { worker, candidate } => self.ask_provisioner(move |provisioner| async move {
                let answer = provisioner.launch(worker, (*candidate).clone()).await;
                Some(Event::LaunchAnswered { worker, candidate, answer })
            }),
            Effect::Terminate { worker, machine } => {
                let clock = Arc::clone(&self.shared.clock);
                self.ask_provisioner(move |provisioner| async move {
                    if let Err(error) = provisioner.terminate(worker, machine).await {
                        return Some(Event::ProvisionerFailed { message: chain(&error) });
                    }
                    // Ok is no proof; the listing is.
                    Some(list(&*provisioner, clock.now().wall).await)
                });
            }
            Effect::ReadConsole { worker, machine } => self.ask_provisioner(move |provisioner| async move {
                let text = match provisioner.console(machine).await {
                    Ok(text) => Some(text),
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(%worker, error, "a machine's console could not be read");
                        None
                    }
                };
                Some(Event::ConsoleRead { worker, text })
            }),
            Effect::Prepare(start) => self.prepare(start),
            Effect::SweepArtifacts { before } => {
                let (shared, stop) = (Arc::clone(&self.shared), self.stop.clone());
                self.tasks.spawn(async move {
                    // What is cut off by the end is swept after the next start.
                    let _cut_off = stop.run_until_cancelled(shared.sweep_artifacts(before)).await;
                });
            }
            Effect::Look { repo } => self.shared.look_now(repo),
            Effect::List => {
                let asked_at = self.shared.clock.now().wall;
                self.ask_provisioner(
                    move |provisioner| async move { Some(list(&*provisioner, asked_at).await) },
                );
            }
        }
    }

    /// Prepares and submits the execution of a start; core hears of it as a request, or that it could not be done.
    fn prepare(&self, start: Box<Start>) {
        let (shared, reporter, stop) = (Arc::clone(&self.shared), self.reporter.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            let preparation = shared.preparation();
            let submitted = preparation.start(&start);
            match stop.run_until_cancelled(submitted).await {
                // What is cut off by the end is claimed still, and prepared again after the next start.
                None | Some(Ok(_)) => {}
                Some(Err(error)) => {
                    drop(reporter.send(Event::NotSubmitted { start, message: chain(&error) }));
                }
            }
        });
    }

    fn ask_provisioner<F>(&self, call: impl FnOnce(Arc<dyn Provisioner>) -> F)
    where
        F: Future<Output = Option<Event>> + Send + 'static,
    {
        let Some(provisioner) = &self.provisioner else {
            return;
        };
        let (call, reporter, stop) =
            (call(Arc::clone(provisioner)), self.reporter.clone(), self.stop.clone());
        self.tasks.spawn(async move {
            if let Some(Some(event)) = stop.run_until_cancelled(call).await {
                // The loop has ended if nobody listens; the next start derives the question again.
                drop(reporter.send(event));
            }
        });
    }
}

async fn list(provisioner: &dyn Provisioner, asked_at: data_runner_core::time::Timestamp) -> Event {
    match provisioner.list().await {
        Ok(machines) => Event::Listed { asked_at, machines },
        Err(error) => Event::ProvisionerFailed { message: chain(&error) },
    }
}
