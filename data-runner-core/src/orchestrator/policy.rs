//! The numbers that the Orchestrator decides by. An installation sets them; nothing else reads them.

use std::time::Duration;

use crate::artifact::KEEP_WITHIN;
use crate::execution::Execution;
use crate::settings::SizePatterns;

/// How executions, workers and machines are treated.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// How workers come to be.
    pub pool: Pool,
    /// Whether agents that nobody provisioned may join.
    pub joining: Joining,
    /// How often agents say that they live.
    pub heartbeat: Duration,
    /// How long an agent may be silent before it gets no new work.
    pub suspect_after: Duration,
    /// How long an agent may be silent before its worker is given up.
    pub lost_after: Duration,
    /// How long an agent may go on without a supervisor before it stops its jobs. For a worker that nobody provisioned
    /// this is also what proves its end, so it is longer than `lost_after`.
    pub dead_man: Duration,
    /// How much longer than `dead_man` an agent must have been silent to be taken for gone: what it takes an agent to
    /// notice that its connection is dead, and its jobs to stop.
    pub fence_margin: Duration,
    /// How long the provisioner may take to say how a machine can be had.
    pub plan_within: Duration,
    /// How long one candidate may be launched without a definite answer, before its machine, if there is one, is
    /// terminated.
    pub launch_within: Duration,
    /// How long a machine may take from launch until its agent connects.
    pub join_within: Duration,
    /// How long code and environment of a job may take. Only the deadline of its machine is counted from it.
    pub prepare_within: Duration,
    /// How long an agent that drains and has nothing left may take to say so.
    pub drain_within: Duration,
    /// What a machine's deadline leaves beyond everything that its job may take.
    pub deadline_margin: Duration,
    /// How long the end of a log may be behind the end of its job before the log is closed with a gap.
    pub log_wait: Duration,
    /// How often machines are listed while there are any.
    pub list_every: Duration,
    /// How often machines are listed when none is known: one that bears our mark may be there all the same.
    pub list_idle_every: Duration,
    /// How long to wait before an unanswered or failed question to the provisioner is asked again.
    pub ask_again: Duration,
    /// How long the call of a launch may take. It is not repeated before: two at a time could get two answers.
    pub answer_within: Duration,
    /// The longest wait between two launches while none can be had (hold); the first is `ask_again`, and it doubles.
    pub hold_at_most: Duration,
    /// How long a machine's console may take to be read before the machine is terminated without it.
    pub console_within: Duration,
    /// The region that machines are bought in, by which people are told what they would cost; `None`: none are bought.
    pub region: Option<String>,
    /// The sizes that an execution may go up to by itself, and that people are advised to take.
    pub allowed_sizes: SizePatterns,
    /// How often files whose time is over are removed.
    pub sweep_every: Duration,
    /// What it means that a complete listing does not show a machine that is being terminated.
    pub absence: Absence,
}

/// How workers come to be.
#[derive(Debug, Clone, PartialEq)]
pub enum Pool {
    /// Nobody starts machines; agents join by themselves.
    None,
    /// Workers for anybody's executions, kept between `min` and `max` by need.
    Shared {
        /// Started ahead of need.
        min: u32,
        /// Never more, those on their way in or out included.
        max: u32,
        /// How many attempts each runs at one time.
        slots: u32,
        /// How long one above `min` may be idle.
        idle: Duration,
    },
    /// A machine for each execution, kept warm for the same workflow and machine as the execution asks.
    PerExecution {
        /// Never more machines, those on their way in or out, and those of which nobody knows, included.
        max: u32,
    },
}

/// Whether agents that nobody provisioned may join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// Their worker is recorded and gets work.
    Accepted,
    /// They are sent away.
    Refused,
}

/// What a machine's absence from a complete listing proves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Absence {
    /// It is gone (processes of this machine).
    IsProof,
    /// It is gone if it is absent for this long (a cloud whose listings lag).
    IsProofAfter(Duration),
}

impl Policy {
    /// What suits agents that are processes of this machine.
    pub fn local(workers: u32, slots: u32) -> Self {
        Self {
            pool: Pool::Shared { min: workers, max: workers, slots, idle: Duration::from_secs(300) },
            joining: Joining::Accepted,
            heartbeat: Duration::from_secs(5),
            suspect_after: Duration::from_secs(30),
            lost_after: Duration::from_secs(120),
            dead_man: Duration::from_secs(600),
            fence_margin: Duration::from_secs(60),
            plan_within: Duration::from_secs(120),
            launch_within: Duration::from_secs(900),
            join_within: Duration::from_secs(60),
            prepare_within: Duration::from_secs(1800),
            drain_within: Duration::from_secs(120),
            deadline_margin: Duration::from_secs(600),
            log_wait: Duration::from_secs(30),
            list_every: Duration::from_secs(5),
            list_idle_every: Duration::from_secs(300),
            ask_again: Duration::from_secs(10),
            answer_within: Duration::from_secs(120),
            hold_at_most: Duration::from_secs(300),
            console_within: Duration::from_secs(10),
            region: None,
            allowed_sizes: SizePatterns::default(),
            sweep_every: Duration::from_secs(3600),
            absence: Absence::IsProof,
        }
    }

    /// What suits machines of EC2: one for each execution, at most `max_machines`; nobody joins that was not launched.
    ///
    /// A person who terminates a busy machine is noticed by the next listing, so within 10 s and what a listing takes. A
    /// machine is shown as terminated for about an hour; one that is not shown at all has to be absent for 15 minutes,
    /// since listings are consistent only in time.
    pub fn ec2(max_machines: u32) -> Self {
        Self {
            pool: Pool::PerExecution { max: max_machines },
            joining: Joining::Refused,
            join_within: Duration::from_secs(300),
            list_every: Duration::from_secs(10),
            absence: Absence::IsProofAfter(Duration::from_secs(900)),
            ..Self::local(0, 1)
        }
    }

    /// How long a machine must still be there to be given this execution: its code is made ready, it runs, is stopped,
    /// and its files and its log come home.
    pub fn time_needed(&self, execution: &Execution) -> Duration {
        let keeping = if execution.job.artifacts.is_empty() { Duration::ZERO } else { KEEP_WITHIN };
        [self.prepare_within, execution.job.timeout, execution.job.grace, keeping, self.log_wait]
            .into_iter()
            .fold(self.deadline_margin, Duration::saturating_add)
    }

    /// How long after the wish for a machine it must be gone: what getting it may take, then its job, then waiting for
    /// the next one.
    pub fn life_of_machine(&self, execution: &Execution) -> Duration {
        [self.plan_within, self.launch_within, self.join_within, execution.keep_warm]
            .into_iter()
            .fold(self.time_needed(execution), Duration::saturating_add)
    }
}
