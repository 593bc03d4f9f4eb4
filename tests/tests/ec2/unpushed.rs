//! Folders that are run without being pushed, on machines.

use data_runner_tests::{Installation, Sandbox, cli_with, workflow};

use crate::cloud_or_skip;

#[tokio::test]
async fn an_unpushed_folder_runs_on_a_machine_of_its_own_and_may_ask_for_no_more_than_a_push() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let allow = "  allow:\n    instance_sizes: [t3.small]\n";
    let installation = Installation::start(&sandbox, &cloud, allow).await;
    let write = |size: &str| {
        let config = format!("worker_type: polars\ninstance_size: {size}\n");
        for (name, content) in workflow("orders", &config, "print('unpushed')\n") {
            let path = sandbox.join("jobs").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        }
    };
    let token = installation.command(&["token", "create", "runner", "--scope", "run"]);
    let ca = sandbox.text("state/pki/ca.pem");
    let variables = [
        ("DATA_RUNNER_SERVER", installation.rest.address.as_str()),
        ("DATA_RUNNER_TOKEN", token.trim()),
        ("DATA_RUNNER_CA", ca.as_str()),
    ];
    let arguments = ["run", "./jobs/workflows/orders"];

    write("t3.small");
    let ran = cli_with(&sandbox, &variables, &arguments).await;
    assert_eq!((ran.code, ran.text().as_str()), (Some(0), "unpushed\n"), "{}", ran.stderr);
    let instance = cloud.mock.instances().await.remove(0);
    cloud.mock.reaches(&instance.id, "terminated").await;

    write("t3.large");
    let refused = cli_with(&sandbox, &variables, &arguments).await;
    assert_eq!(refused.code, Some(125), "{}", refused.stderr);
    assert!(refused.stderr.contains("ec2.allow.instance_sizes allows t3.small"), "{}", refused.stderr);
}
