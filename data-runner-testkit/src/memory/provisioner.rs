//! A Provisioner in memory: a small cloud whose answers a test scripts, and whose machines it can kill.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use data_runner_core::cost::{MachinePrice, Market};
use data_runner_core::id::{MachineId, WorkerId};
use data_runner_core::port::{LaunchAnswer, ProvisionError, Provisioner};
use data_runner_core::time::Timestamp;
use data_runner_core::worker::{Candidate, Machine, MachineEnd, MachineRequest, MachineState};
use tokio::sync::mpsc;

use crate::sample;

/// What the next launch does, in the place of making a machine.
#[derive(Debug, Clone, PartialEq)]
pub enum LaunchScript {
    /// It gives this answer, and no machine.
    Answers(LaunchAnswer),
    /// It makes the machine, and the answer is lost on the way.
    AnswerIsLost,
    /// It takes this long, and then does what a launch does.
    Takes(Duration),
}

/// What happened to a machine.
#[derive(Debug, Clone, PartialEq)]
pub enum MachineEvent {
    /// It was made, and its agent starts.
    Made {
        /// Whose it is.
        worker: WorkerId,
        /// As what.
        candidate: Candidate,
    },
    /// Its agent was started again.
    Revived {
        /// Whose it is.
        worker: WorkerId,
    },
    /// It is gone.
    Gone {
        /// Whose it was.
        worker: WorkerId,
    },
}

/// A cloud in memory; clones are the same cloud.
///
/// Its honesty is that of a launch token: one worker and candidate never have two machines, whatever the answers were.
#[derive(Clone)]
pub struct MemoryProvisioner(Arc<Mutex<Cloud>>);

struct Cloud {
    candidates: Vec<Candidate>,
    machines: BTreeMap<WorkerId, (Machine, Candidate)>,
    scripts: VecDeque<LaunchScript>,
    rejection: Option<String>,
    failing_lists: u32,
    terminations: Terminations,
    now: Timestamp,
    listeners: Vec<mpsc::UnboundedSender<MachineEvent>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Terminations {
    AtOnce,
    WhenTold,
}

impl Default for MemoryProvisioner {
    fn default() -> Self {
        Self::new(1)
    }
}

impl MemoryProvisioner {
    /// A cloud that offers this many candidates for every request.
    pub fn new(candidates: usize) -> Self {
        let candidate = |n| Candidate {
            label: format!("memory {n}"),
            instance_type: "memory".to_owned(),
            request: serde_json::json!({ "candidate": n }),
            zone: None,
            market: Market::OnDemand,
            price: Some(MachinePrice { instance: 1_000 * (n as u64 + 1), ..MachinePrice::default() }),
        };
        Self(Arc::new(Mutex::new(Cloud {
            candidates: (0..candidates).map(candidate).collect(),
            machines: BTreeMap::new(),
            scripts: VecDeque::new(),
            rejection: None,
            failing_lists: 0,
            terminations: Terminations::AtOnce,
            now: sample::at(0),
            listeners: Vec::new(),
        })))
    }

    /// What happens from now on, in order.
    pub fn events(&self) -> mpsc::UnboundedReceiver<MachineEvent> {
        let (sender, receiver) = mpsc::unbounded_channel();
        self.cloud().listeners.push(sender);
        receiver
    }

    /// The launch that no earlier script is for does this.
    pub fn script(&self, launch: LaunchScript) {
        self.cloud().scripts.push_back(launch);
    }

    /// From now on plans are rejected with this message, or no longer.
    pub fn reject_plans(&self, message: Option<&str>) {
        self.cloud().rejection = message.map(str::to_owned);
    }

    /// The next `count` listings fail.
    pub fn fail_lists(&self, count: u32) {
        self.cloud().failing_lists = count;
    }

    /// From now on a machine that is terminated stays `Stopping` until [`Self::end`] ends it.
    pub fn hold_terminations(&self) {
        self.cloud().terminations = Terminations::WhenTold;
    }

    /// The time that machines are launched at from now on.
    pub fn set_time(&self, now: Timestamp) {
        self.cloud().now = now;
    }

    /// The machine of `worker` is gone, because of `reason`: spot reclaimed it, someone deleted it, or it took its time.
    pub fn end(&self, worker: WorkerId, reason: &str) {
        self.cloud().end(worker, reason);
    }

    /// The agent of `worker` is gone and its machine is not.
    pub fn kill_agent(&self, worker: WorkerId) {
        if let Some((machine, _)) = self.cloud().machines.get_mut(&worker)
            && machine.state == MachineState::Running
        {
            machine.state = MachineState::AgentDown;
        }
    }

    /// The state of the machine of `worker`, if there was ever one.
    pub fn state(&self, worker: WorkerId) -> Option<MachineState> {
        self.cloud().machines.get(&worker).map(|(machine, _)| machine.state.clone())
    }

    fn cloud(&self) -> MutexGuard<'_, Cloud> {
        self.0.lock().expect("no holder panics")
    }
}

impl Cloud {
    fn tell(&mut self, event: &MachineEvent) {
        self.listeners.retain(|listener| listener.send(event.clone()).is_ok());
    }

    fn launch(&mut self, worker: WorkerId, candidate: Candidate) -> MachineId {
        let (id, event) = match self.machines.get_mut(&worker) {
            Some((machine, _)) => {
                let revived = machine.state == MachineState::AgentDown;
                if revived {
                    machine.state = MachineState::Running;
                }
                (machine.id.clone(), revived.then_some(MachineEvent::Revived { worker }))
            }
            None => {
                let id: MachineId = format!("memory-{worker}").parse().expect("a name");
                let state = MachineState::Running;
                let machine = Machine { id: id.clone(), worker, state, launched_at: self.now };
                self.machines.insert(worker, (machine, candidate.clone()));
                (id, Some(MachineEvent::Made { worker, candidate }))
            }
        };
        event.iter().for_each(|event| self.tell(event));
        id
    }

    fn terminate(&mut self, worker: WorkerId) {
        match self.terminations {
            Terminations::AtOnce => self.end(worker, "terminated as asked"),
            Terminations::WhenTold => match self.machines.get_mut(&worker) {
                Some((Machine { state: MachineState::Terminated { .. }, .. }, _)) | None => {}
                Some((machine, _)) => machine.state = MachineState::Stopping,
            },
        }
    }

    fn end(&mut self, worker: WorkerId, reason: &str) {
        match self.machines.get_mut(&worker) {
            Some((Machine { state: MachineState::Terminated { .. }, .. }, _)) | None => {}
            Some((machine, _)) => {
                machine.state =
                    MachineState::Terminated { reason: reason.to_owned(), end: MachineEnd::Ended };
                self.tell(&MachineEvent::Gone { worker });
            }
        }
    }
}

#[async_trait]
impl Provisioner for MemoryProvisioner {
    async fn plan(&self, _request: MachineRequest) -> Result<Vec<Candidate>, ProvisionError> {
        let cloud = self.cloud();
        match &cloud.rejection {
            Some(message) => Err(ProvisionError::Rejected { message: message.clone(), hint: None }),
            None => Ok(cloud.candidates.clone()),
        }
    }

    async fn launch(&self, worker: WorkerId, candidate: Candidate) -> LaunchAnswer {
        loop {
            let script = self.cloud().scripts.pop_front();
            match script {
                None => return LaunchAnswer::Launched(self.cloud().launch(worker, candidate)),
                Some(LaunchScript::Answers(answer)) => return answer,
                Some(LaunchScript::AnswerIsLost) => {
                    self.cloud().launch(worker, candidate);
                    return LaunchAnswer::Unknown { message: "the answer was lost".to_owned() };
                }
                Some(LaunchScript::Takes(duration)) => tokio::time::sleep(duration).await,
            }
        }
    }

    async fn terminate(&self, worker: WorkerId, machine: Option<MachineId>) -> Result<(), ProvisionError> {
        let mut cloud = self.cloud();
        let of_worker = cloud.machines.get(&worker).map(|(machine, _)| machine.id.clone());
        if machine.is_none() || machine == of_worker {
            cloud.terminate(worker);
        }
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Machine>, ProvisionError> {
        let mut cloud = self.cloud();
        if cloud.failing_lists > 0 {
            cloud.failing_lists -= 1;
            return Err(ProvisionError::Unavailable("the test lets it fail".into()));
        }
        Ok(cloud.machines.values().map(|(machine, _)| machine.clone()).collect())
    }

    async fn console(&self, _machine: MachineId) -> Result<String, ProvisionError> {
        Ok(String::new())
    }
}
