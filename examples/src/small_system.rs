//! A whole Data Runner in one process, for the examples that are about something else.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use data_runner_core::event::ShutDown;
use data_runner_core::orchestrator::Policy;
use data_runner_core::port::Executor;
use data_runner_core::workflow::{Polling, WorkerTypes};
use data_runner_engine::{Gate, Handle, Supervisor, SupervisorBuilder};
use data_runner_git::{LocalPaths, Opener, OpenerOptions};
use data_runner_grpc::{GrpcTransport, ServerOptions};
use data_runner_local::FolderBlobs;
use data_runner_sqlite::SqliteStore;

use crate::{TaskOptions, TaskProvisioner};

/// A supervisor whose workers are tasks of this program. `embed_supervisor.rs` spells the same out, step by step.
pub struct SmallSystem {
    supervisor: Supervisor,
    store: Arc<SqliteStore>,
}

impl SmallSystem {
    /// Keeps everything below `folder`; its one worker runs jobs with `executors`.
    pub async fn start(
        folder: &Path,
        worker_types: WorkerTypes,
        executors: Vec<Arc<dyn Executor>>,
    ) -> anyhow::Result<Self> {
        let store = Arc::new(SqliteStore::open(folder.join("state")).await?);
        let gate = Gate::default();
        let anywhere = "127.0.0.1:0".parse()?;
        let (transport, address) =
            GrpcTransport::bind(anywhere, Arc::new(gate.clone()), ServerOptions::default()).await?;
        let machines = TaskProvisioner::new(TaskOptions {
            folder: folder.join("machines"),
            grpc_url: format!("http://{address}"),
            executors,
        });
        let builder = SupervisorBuilder {
            state: store.clone(),
            catalog: store.clone(),
            logs: store.clone(),
            blobs: Arc::new(FolderBlobs::new(folder.join("blobs"))),
            artifacts: Arc::new(FolderBlobs::new(folder.join("artifacts"))),
            opener: Arc::new(Opener::new(OpenerOptions {
                local: LocalPaths::Files,
                ..OpenerOptions::new(folder.join("mirrors"))
            })),
            transport,
            gate,
            provisioner: Some(Arc::new(machines)),
            // To look at tasks of this program costs nothing.
            policy: Policy { list_every: Duration::from_millis(200), ..Policy::local(1, 1) },
            worker_types,
            polling: Polling::default(),
            clock: SupervisorBuilder::system_clock(),
        };
        Ok(Self { supervisor: builder.start().await?, store })
    }

    /// A way to the supervisor.
    pub fn handle(&self) -> Handle {
        self.supervisor.handle()
    }

    /// Lets what runs finish, ends the workers, then the supervisor.
    pub async fn end(self) -> anyhow::Result<()> {
        self.handle().shut_down(ShutDown::Drain).await?;
        self.supervisor.stop().await;
        self.store.close().await?;
        Ok(())
    }
}
