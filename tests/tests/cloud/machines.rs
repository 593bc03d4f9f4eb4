//! Machines boot, are told things, and end.

use std::io::Write as _;

use crate::{cloud_or_skip, launch};

#[tokio::test]
async fn a_machine_runs_its_user_data_and_is_terminated_when_it_powers_off() {
    let cloud = cloud_or_skip!();
    let script = "#!/bin/sh\necho hello from $(hostname)\ntouch /was-here\nshutdown -h now\nsleep 60\n";
    let id = launch(&cloud.mock, script.as_bytes(), &[]).await;
    let ended = cloud.mock.reaches(&id, "terminated").await;
    assert_eq!(ended.reason, "Client.InstanceInitiatedShutdown");
    assert!(cloud.console(&id).contains("hello from ip-10-231-"), "{}", cloud.console(&id));
    assert!(cloud.file(&id, "/was-here").exists());

    let stays = [("InstanceInitiatedShutdownBehavior", "stop")];
    let id = launch(&cloud.mock, b"#!/bin/sh\npoweroff\n", &stays).await;
    cloud.mock.reaches(&id, "stopped").await;
}

#[tokio::test]
async fn compressed_user_data_run_as_well() {
    let cloud = cloud_or_skip!();
    let mut gzip = std::process::Command::new("gzip")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    gzip.stdin.take().unwrap().write_all(b"#!/bin/sh\necho small\nshutdown -h now\n").unwrap();
    let id = launch(&cloud.mock, &gzip.wait_with_output().unwrap().stdout, &[]).await;
    cloud.mock.reaches(&id, "terminated").await;
    assert!(cloud.console(&id).contains("small\n"), "{}", cloud.console(&id));
}

#[tokio::test]
async fn whoever_is_terminated_is_killed_and_its_console_stays() {
    let cloud = cloud_or_skip!();
    let id = launch(&cloud.mock, b"#!/bin/sh\ntrap '' TERM\necho up >/dev/console\nsleep 600\n", &[]).await;
    cloud.shows(&id, "up\n").await;
    assert_eq!(cloud.mock.instance(&id).await.state, "running");
    cloud.mock.call("ec2", &[("Action", "TerminateInstances"), ("InstanceId.1", &id)]).await.good();
    let ended = cloud.mock.reaches(&id, "terminated").await;
    assert_eq!(ended.reason, "Client.UserInitiatedShutdown");
    let output = cloud.mock.call("ec2", &[("Action", "GetConsoleOutput"), ("InstanceId", &id)]).await.good();
    assert!(output.contains("<output>dXAK"), "up, in base64: {output}");
}

#[tokio::test]
async fn news_that_come_while_machines_are_being_killed_hold_nothing_up() {
    let cloud = cloud_or_skip!();
    let mut ids = Vec::new();
    for _ in 0..8 {
        ids.push(launch(&cloud.mock, b"#!/bin/sh\necho up >/dev/console\nsleep 600\n", &[]).await);
    }
    for id in &ids {
        cloud.shows(id, "up\n").await;
    }
    let news = async {
        loop {
            cloud.mock.metadata(&ids[0], "meta-data/news", Some("more of them")).await;
        }
    };
    let killed = async {
        for id in &ids {
            cloud.mock.call("ec2", &[("Action", "TerminateInstances"), ("InstanceId.1", id)]).await.good();
        }
        for id in &ids {
            cloud.mock.reaches(id, "terminated").await;
        }
    };
    tokio::select! {
        () = news => {}
        () = killed => {}
    }
}

#[tokio::test]
async fn metadata_need_a_token_and_say_what_a_test_wants() {
    let cloud = cloud_or_skip!();
    cloud.mock.instance_profile("jobs").await;
    let script = r#"#!/bin/sh
at=http://169.254.169.254/latest
echo without a token: $(curl -s -o /dev/null -w '%{http_code}' $at/meta-data/instance-id)
token=$(curl -s -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' $at/api/token)
ask() { curl -s -w '\n' -H "X-aws-ec2-metadata-token: $token" $at/meta-data/$1; }
for path in instance-id placement/availability-zone placement/region iam/security-credentials/; do ask $path; done
ask iam/security-credentials/jobs | grep -c '"AccessKeyId": "ASIA'
until ask spot/instance-action | grep terminate; do sleep 0.1; done
sleep 600
"#;
    let id = launch(&cloud.mock, script.as_bytes(), &[("IamInstanceProfile.Name", "jobs")]).await;
    let zone = cloud.mock.instance(&id).await.zone;
    cloud.shows(&id, &format!("without a token: 401\n{id}\n{zone}\neu-west-1\njobs\n1\n")).await;
    let notice = r#"{"action": "terminate", "time": "2030-01-01T00:00:00Z"}"#;
    cloud.mock.metadata(&id, "meta-data/spot/instance-action", Some(notice)).await;
    cloud.shows(&id, notice).await;
}

#[tokio::test]
async fn a_wire_can_be_cut_and_mended() {
    let cloud = cloud_or_skip!();
    let script = format!(
        "#!/bin/sh\nwhile :; do curl -s --max-time 1 -o /dev/null {}/_cloud/calls && echo whole || echo cut; sleep 0.1; done\n",
        cloud.mock.endpoint()
    );
    let id = launch(&cloud.mock, script.as_bytes(), &[]).await;
    cloud.shows(&id, "whole\n").await;
    cloud.cut(&id);
    cloud.shows(&id, "cut\n").await;
    cloud.mend(&id);
    cloud.shows(&id, "cut\nwhole\n").await;
}

#[tokio::test]
async fn a_machine_reaches_the_package_index_and_an_image_of_it_has_what_was_installed() {
    let cloud = cloud_or_skip!();
    let script = format!(
        "#!/bin/sh\npython3 -m venv /opt/uv && /opt/uv/bin/pip install -q --index-url {} uv\n/opt/uv/bin/uv --version\n",
        cloud.package_index()
    );
    let id = launch(&cloud.mock, script.as_bytes(), &[]).await;
    cloud.shows(&id, "uv 0.").await;
    let image = [("Action", "CreateImage"), ("InstanceId", &id), ("Name", "with uv")];
    let answer = cloud.mock.call("ec2", &image).await.good();
    let image = answer.split(['<', '>']).find(|text| text.starts_with("ami-")).unwrap();
    let baked = launch(&cloud.mock, b"#!/bin/sh\n/opt/uv/bin/uv --version\n", &[("ImageId", image)]).await;
    cloud.shows(&baked, "uv 0.").await;
}
