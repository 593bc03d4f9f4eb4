//! The example repository's workflow that wants a machine of its own, with the example's settings.

use data_runner_tests::cloud::Cloud;
use data_runner_tests::{Installation, Repository, Sandbox};
use serde_json::json;

use crate::cloud_or_skip;

/// The newest image of Amazon Linux 2023, as AWS says it.
async fn image(cloud: &Cloud) -> String {
    let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64";
    let answer = cloud.mock.aws().tell("ssm", "AmazonSSM.GetParameter", &json!({"Name": name})).await;
    answer["Parameter"]["Value"].as_str().unwrap().to_owned()
}

/// The shop's own supervisor-aws.yaml, with what there is in this cloud, and certificates of its own.
fn settings(cloud: &Cloud, shop: &Repository, image: &str) -> String {
    let address = cloud.address().to_string();
    let subnets: Vec<&str> = cloud.mock.subnets().keys().map(String::as_str).collect();
    let text = shop.text("supervisor-aws.yaml");
    let (before, rest) = text.split_once("tls:\n").unwrap();
    let (_, after) = rest.split_once("login:").unwrap();
    format!("{before}tls: own\nlogin:{after}python: {{index_url: \"{}\"}}\n", cloud.package_index())
        .replace("0.0.0.0", &address)
        .replace("10.0.1.5", &address)
        .replace("https://git.example.com/acme/shop.git", &shop.url())
        .replace("[subnet-0abc, subnet-0def]", &format!("[{}]", subnets.join(", ")))
        .replace("sg-0abc", cloud.mock.security_group())
        .replace("ami-0123456789abcdef0", image)
}

#[tokio::test]
async fn the_workflow_that_wants_a_machine_of_its_own_gets_it_with_secrets_of_aws() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let (subnet, image) = (cloud.mock.subnets().keys().next().unwrap().clone(), image(&cloud).await);
    let shop = Repository::shop(
        sandbox.join("shop"),
        &[("[subnet-0abc]", &format!("[{subnet}]")), ("ami-0123456789abcdef0", image.as_str())],
    );
    cloud.mock.bucket("acme-data-runner").await;
    let aws = cloud.mock.aws();
    let secret = json!({"Name": "shop/warehouse", "SecretString": r#"{"dsn": "postgres://shop"}"#});
    aws.tell("secretsmanager", "secretsmanager.CreateSecret", &secret).await;
    let parameter = json!({"Name": "/shop/licence", "Value": "of the shop", "Type": "SecureString"});
    aws.tell("ssm", "AmazonSSM.PutParameter", &parameter).await;

    let installation = Installation::with(&sandbox, &cloud, &settings(&cloud, &shop, &image)).await;
    installation.rest.knows("warehouse").await;
    let id = installation.rest.execute("warehouse", json!({})).await;
    installation.rest.succeeded(&id).await;
    let log = String::from_utf8(installation.rest.log(&id, "stream=stdout").await).unwrap();
    assert!(log.contains("in eu-west-1, secrets: WAREHOUSE, LICENCE"), "{log}");

    let machine = cloud.mock.instances().await.remove(0);
    assert_eq!((machine.market.as_str(), machine.image.as_str()), ("spot", image.as_str()));
    assert_eq!(machine.tags["CostCenter"], "shop");
    assert_eq!(cloud.mock.subnets()[&subnet], machine.zone);
    cloud.mock.reaches(&machine.id, "terminated").await;
}
