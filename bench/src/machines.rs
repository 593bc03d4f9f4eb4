//! From the decision to launch a machine to its hand-over to the provisioner, where it would wait for the throttle.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use data_runner_core::cost::Market;
use data_runner_core::id::{MachineId, WorkerId};
use data_runner_core::orchestrator::Policy;
use data_runner_core::port::{LaunchAnswer, ProvisionError, Provisioner};
use data_runner_core::worker::{Candidate, Machine, MachineRequest};
use data_runner_engine::Order;
use data_runner_engine::supervisor::Registration;

use crate::modes;
use crate::report::{Figure, Percentiles, Report};

const QUEUED: u32 = 1_000;
/// How long all of it may take.
const LIMIT: Duration = Duration::from_secs(120);

/// Remembers when each candidate was offered and when it was handed over.
#[derive(Default)]
struct Counter {
    offered: AtomicU64,
    at: Mutex<BTreeMap<u64, Instant>>,
    waits: Mutex<Vec<Duration>>,
}

#[async_trait]
impl Provisioner for Counter {
    async fn plan(&self, request: MachineRequest) -> Result<Vec<Candidate>, ProvisionError> {
        let number = self.offered.fetch_add(1, Ordering::Relaxed);
        self.at.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Instant::now());
        Ok(vec![Candidate {
            label: request.instance_size.clone(),
            instance_type: request.instance_size,
            zone: None,
            market: Market::OnDemand,
            request: number.into(),
            price: None,
        }])
    }

    async fn launch(&self, _worker: WorkerId, candidate: Candidate) -> LaunchAnswer {
        let offered = candidate
            .request
            .as_u64()
            .and_then(|number| self.at.lock().unwrap_or_else(PoisonError::into_inner).remove(&number));
        if let Some(offered) = offered {
            self.waits.lock().unwrap_or_else(PoisonError::into_inner).push(offered.elapsed());
        }
        LaunchAnswer::Unknown { message: "it waits for the throttle".to_owned() }
    }

    async fn terminate(&self, _: WorkerId, _: Option<MachineId>) -> Result<(), ProvisionError> {
        Ok(())
    }

    async fn list(&self) -> Result<Vec<Machine>, ProvisionError> {
        Ok(Vec::new())
    }

    async fn console(&self, _: MachineId) -> Result<String, ProvisionError> {
        Ok(String::new())
    }
}

/// 1,000 executions are queued, each for a machine of its own.
pub async fn measure(folder: &Path, repo: &Path, report: &mut Report) -> anyhow::Result<()> {
    let counter = Arc::new(Counter::default());
    let parts = modes::parts(folder, Some(counter.clone()), Policy::ec2(QUEUED)).await?;
    let handle = parts.supervisor.handle();
    let url = format!("file://{}", repo.display());
    handle.register(Registration { url, ..Registration::default() }).await?;
    let begun = Instant::now();
    for _ in 0..QUEUED {
        handle.execute("nothing", Order::default()).await?;
    }
    let handed_over = || counter.waits.lock().unwrap_or_else(PoisonError::into_inner).clone();
    while handed_over().len() < QUEUED as usize {
        anyhow::ensure!(begun.elapsed() < LIMIT, "{} of {QUEUED} were handed over", handed_over().len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let waits = Percentiles::of(handed_over());
    report.add(Figure::millis("decided to handed over, 1,000 queued, p50", waits.p50, Some(20.0)));
    report.add(Figure::millis("decided to handed over, 1,000 queued, p95", waits.p95, None));
    parts.end().await
}
