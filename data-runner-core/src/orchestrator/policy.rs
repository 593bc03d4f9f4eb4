//! The numbers that the Orchestrator decides by. An installation sets them; nothing else reads them.

use std::time::Duration;

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
    /// How long a machine may take from launch until its agent connects.
    pub join_within: Duration,
    /// How long the end of a log may be behind the end of its job before the log is closed with a gap.
    pub log_wait: Duration,
    /// How often machines are listed.
    pub list_every: Duration,
    /// How long to wait before an unanswered or failed question to the provisioner is asked again.
    pub ask_again: Duration,
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
    /// A machine for each execution, kept warm for the same workflow and size as the execution asks.
    PerExecution {
        /// Never more machines, those on their way in or out included.
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
            join_within: Duration::from_secs(60),
            log_wait: Duration::from_secs(30),
            list_every: Duration::from_secs(5),
            ask_again: Duration::from_secs(10),
            absence: Absence::IsProof,
        }
    }
}
