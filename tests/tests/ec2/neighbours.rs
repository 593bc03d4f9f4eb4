//! Others in the same account: another installation, and machines that are nobody's business here.

use data_runner_tests::cloud::{Call, Cloud};
use data_runner_tests::{Installation, Sandbox, access_key};
use serde_json::json;

use crate::{cloud_or_skip, launch, register};

const WORKER: &str = "0192f0c1-2d3e-7a4b-8c5d-6e7f8a9b0c1d";

/// A machine with the marks of this installation, and of a worker that it does not have.
async fn orphan(cloud: &Cloud, installation: &str) -> String {
    launch(&cloud.mock, &[("data-runner:installation", installation), ("data-runner:worker", WORKER)]).await
}

/// What each installation has asked to be terminated.
fn terminated(calls: &[Call], installation: &str) -> Vec<String> {
    let by = access_key(installation);
    let of = calls.iter().filter(|call| call.access_key.as_ref() == Some(&by));
    let terminations = of.filter(|call| call.action == "TerminateInstances");
    terminations
        .flat_map(|call| call.parameters.iter().filter(|(name, _)| name.starts_with("InstanceId.")))
        .map(|(_, id)| id.clone())
        .collect()
}

#[tokio::test]
async fn two_installations_in_one_account_never_touch_each_others_machines_nor_strangers() {
    let (sandbox, next_door, cloud) = (Sandbox::new(), Sandbox::new(), cloud_or_skip!());
    let strangers = [
        launch(&cloud.mock, &[]).await,
        launch(&cloud.mock, &[("Name", "data-runner test"), ("data-runner:worker", WORKER)]).await,
        launch(&cloud.mock, &[("data-runner:installation", "test2"), ("data-runner:worker", WORKER)]).await,
        launch(&cloud.mock, &[("data-runner:installation", "Test"), ("data-runner:worker", WORKER)]).await,
        launch(&cloud.mock, &[("installation", "test"), ("worker", WORKER)]).await,
    ];
    // What shows that both reapers have done their work.
    let orphans = [("test", orphan(&cloud, "test").await), ("neighbour", orphan(&cloud, "neighbour").await)];
    let ours = Installation::start(&sandbox, &cloud, "").await;
    let theirs = Installation::neighbour(&next_door, &cloud).await;
    register(&sandbox, &ours.rest, "job", "", "print('done')").await;
    register(&next_door, &theirs.rest, "job", "", "print('done')").await;
    let (one, other) =
        (ours.rest.execute("job", json!({})).await, theirs.rest.execute("job", json!({})).await);

    for (_, orphan) in &orphans {
        cloud.mock.reaches(orphan, "terminated").await;
    }
    ours.rest.succeeded(&one).await;
    theirs.rest.succeeded(&other).await;
    for (installation, id, rest) in [("test", one, &ours.rest), ("neighbour", other, &theirs.rest)] {
        let workers = rest.get("/workers").await.ok();
        assert_eq!(workers["items"].as_array().map(Vec::len), Some(1), "it adopted nobody: {workers:#}");
        let machine = workers["items"][0]["machine_id"].as_str().unwrap().to_owned();
        let instance = cloud.mock.reaches(&machine, "terminated").await;
        assert_eq!(instance.tags["data-runner:installation"], installation);
        assert_eq!(instance.tags["data-runner:execution"], id);
        // Its own machine may have gone by itself before it was asked to.
        let orphan = &orphans.iter().find(|(of, _)| *of == installation).unwrap().1;
        let asked = terminated(&cloud.mock.calls().await, installation);
        assert!(asked.contains(orphan), "{asked:?}");
        assert!(asked.iter().all(|id| id == orphan || *id == machine), "{installation}: {asked:?}");
    }
    for id in strangers {
        assert_eq!(cloud.mock.instance(&id).await.state, "running");
    }
}
