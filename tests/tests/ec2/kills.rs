//! `kill -9` of a supervisor at each moment around a launch and a termination: no machine is lost, none is doubled,
//! none is left.
//!
//! What stands between a commit and its call is seen from here as a call that the cloud never carries out, and what
//! stands between an answer and its commit as a state that cannot be written: its file is locked.

use std::time::Duration;

use data_runner_tests::cloud::{Call, Cloud, Fault, Instance};
use data_runner_tests::{Installation, Repository, Sandbox, polars, until, workflow};
use serde_json::json;
use sqlx::{Connection as _, SqliteConnection};

use crate::{cloud_or_skip, register};

/// How long a call waits that is cut off by the kill.
const FOR_EVER: f64 = 600.0;

/// When the supervisor is killed.
#[derive(Debug)]
enum Moment {
    /// The cloud was not asked, or did not hear it.
    NotCarriedOut(&'static str),
    /// The cloud has done it, and has not answered.
    NotAnswered(&'static str),
    /// It has answered, and that is not committed.
    NotCommitted(&'static str),
    /// That is committed.
    Committed(&'static str),
}

impl Moment {
    fn action(&self) -> &'static str {
        match self {
            Self::NotCarriedOut(action)
            | Self::NotAnswered(action)
            | Self::NotCommitted(action)
            | Self::Committed(action) => action,
        }
    }

    /// What has to be wrong for it.
    fn faults(&self) -> Vec<Fault> {
        let fault = Fault { action: self.action().into(), times: 1, ..Fault::default() };
        match self {
            Self::NotCarriedOut(_) => vec![Fault { delay: FOR_EVER, drop: true, ..fault }],
            Self::NotAnswered(_) => vec![Fault { execute: true, hold: FOR_EVER, drop: true, ..fault }],
            // Time to lock the state.
            Self::NotCommitted(_) => vec![Fault { delay: 1.0, ..fault }],
            Self::Committed(_) => Vec::new(),
        }
    }

    /// Kills the supervisor at this moment of the first call after those `before`, and starts the next one.
    /// `committed` returns once what the call answered is committed.
    async fn kill(&self, it: &mut Scene<'_>, before: usize, committed: impl AsyncFn(&Installation<'_>)) {
        let cloud = it.cloud;
        let call = async |is: fn(&Call) -> bool| {
            until(&format!("{self:?}"), async || {
                let calls = cloud.mock.calls().await;
                calls[before..].iter().any(|call| call.action == self.action() && is(call)).then_some(())
            })
            .await;
        };
        match self {
            Self::NotCarriedOut(_) => call(|_| true).await,
            Self::NotAnswered(_) => call(|call| call.executed).await,
            Self::NotCommitted(_) => {
                call(|_| true).await;
                let mut lock = it.lock().await;
                call(|call| call.status == Some(200)).await;
                // It wants to commit by now; if it does not yet, this is the moment before.
                tokio::time::sleep(Duration::from_millis(300)).await;
                it.installation.kill();
                sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
            }
            Self::Committed(_) => committed(&it.installation).await,
        }
        it.installation.kill();
        it.installation.again().await;
    }
}

struct Scene<'a> {
    cloud: &'a Cloud,
    sandbox: &'a Sandbox,
    installation: Installation<'a>,
}

impl Scene<'_> {
    /// Keeps the supervisor from writing its state, for as long as this is held.
    async fn lock(&self) -> SqliteConnection {
        let url = format!("sqlite://{}", self.sandbox.join("state/state.db").display());
        let mut connection = SqliteConnection::connect(&url).await.unwrap();
        sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
        connection
    }

    /// The machines that were launched for an execution.
    async fn machines(&self, execution: &str) -> Vec<Instance> {
        let mut all = self.cloud.mock.instances().await;
        all.retain(|instance| instance.tags["data-runner:execution"] == execution);
        all
    }

    /// Exactly one machine was launched for the execution; its id.
    async fn the_one_machine(&self, execution: &str, moment: &Moment) -> String {
        let mut ids: Vec<_> = self.machines(execution).await.into_iter().map(|it| it.id).collect();
        assert_eq!(ids.len(), 1, "{moment:?}: {ids:?}");
        ids.remove(0)
    }

    /// All workers are proved gone.
    async fn no_worker_is_left(&self) {
        until("all workers to be gone", async || {
            let workers = self.installation.rest.get("/workers").await.ok();
            let mut workers = workers["items"].as_array().unwrap().iter();
            workers.all(|worker| worker["state"] == "terminated").then_some(())
        })
        .await;
    }
}

/// Returns when the supervisor knows the machine of an execution.
async fn knows_its_machine(installation: &Installation<'_>, execution: &str) {
    until("a machine to be known", async || {
        let execution = installation.rest.execution(execution).await;
        let worker = installation.rest.get(&format!("/workers/{}", execution["worker_id"].as_str()?)).await;
        worker.ok()["machine_id"].is_string().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_supervisor_killed_at_any_moment_of_a_launch_loses_no_machine_and_makes_no_second_one() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let installation = Installation::start(&sandbox, &cloud, "").await;
    // One workflow a moment: an execution that waits may take over the machine of one of its own workflow that is done.
    let jobs = (0..5).map(|n| workflow(&format!("job-{n}"), &polars(""), "print('done')"));
    let repository = Repository::with(sandbox.join("etl"), jobs);
    installation.rest.register(&repository.url()).await;
    let mut it = Scene { cloud: &cloud, sandbox: &sandbox, installation };
    let moments = [
        // Which machine it will be is not decided yet.
        Moment::NotCarriedOut("DescribeSubnets"),
        Moment::NotCarriedOut("RunInstances"),
        Moment::NotAnswered("RunInstances"),
        Moment::NotCommitted("RunInstances"),
        Moment::Committed("RunInstances"),
    ];
    let mut ids = Vec::new();
    // The machines of the moments before boot, join and run their jobs meanwhile.
    for (n, moment) in moments.iter().enumerate() {
        let before = cloud.mock.calls().await.len();
        cloud.mock.faults(&moment.faults()).await;
        let id = it.installation.rest.execute(&format!("job-{n}"), json!({})).await;
        moment.kill(&mut it, before, async |installation| knows_its_machine(installation, &id).await).await;
        knows_its_machine(&it.installation, &id).await;
        ids.push(id);
    }
    for (id, moment) in ids.iter().zip(&moments) {
        let execution = it.installation.rest.succeeded(id).await;
        assert_eq!(execution["attempts"].as_array().unwrap().len(), 1, "{moment:?}: {execution:#}");
        let machine = it.the_one_machine(id, moment).await;
        cloud.mock.reaches(&machine, "terminated").await;
    }
    it.no_worker_is_left().await;
    assert_eq!(cloud.mock.instances().await.len(), moments.len());
}

#[tokio::test]
async fn a_supervisor_killed_at_any_moment_of_a_termination_leaves_no_machine() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    // Its agents have nowhere to come from, so that no machine goes by itself.
    let settings = Installation::settings(&cloud, "");
    let public = format!("public_url: https://{}", cloud.address());
    let settings = settings.replace(&format!("{public}:8443"), &format!("{public}:9"));
    let installation = Installation::with(&sandbox, &cloud, &settings).await;
    register(&sandbox, &installation.rest, "job", "", "print('done')").await;
    let mut it = Scene { cloud: &cloud, sandbox: &sandbox, installation };
    let moments = [
        Moment::NotCarriedOut("TerminateInstances"),
        Moment::NotAnswered("TerminateInstances"),
        Moment::NotCommitted("TerminateInstances"),
    ];
    for moment in &moments {
        let id = it.installation.rest.execute("job", json!({})).await;
        knows_its_machine(&it.installation, &id).await;
        let before = cloud.mock.calls().await.len();
        cloud.mock.faults(&moment.faults()).await;
        it.installation.rest.post(&format!("/executions/{id}/cancel"), json!({})).await.ok();
        moment.kill(&mut it, before, async |_| ()).await;
        assert_eq!(it.installation.rest.ended(&id).await["state"], "cancelled");
        let machine = it.the_one_machine(&id, moment).await;
        let ended = cloud.mock.reaches(&machine, "terminated").await;
        assert_eq!(ended.reason, "Client.UserInitiatedShutdown", "{moment:?}: it was terminated, by us");
    }
    it.no_worker_is_left().await;
    assert_eq!(cloud.mock.instances().await.len(), moments.len());
}
