//! Images that are baked, and jobs on them.

use std::collections::BTreeSet;

use data_runner_tests::cloud::{Cloud, Instance};
use data_runner_tests::{Installation, Repository, Sandbox, polars, query, until, workflow};
use serde_json::{Value, json};

use crate::cloud_or_skip;

const SCRIPT: &str = r#"
import polars
print(polars.DataFrame({"a": [1, 2, 3]}).sum().item())
"#;

/// `image bake` to its end; the images by their worker types.
async fn bake(installation: &Installation<'_>, more: &[&str]) -> Vec<Value> {
    let baked = installation.cli(&[&["image", "bake", "--output", "json"], more].concat()).await;
    assert_eq!(baked.code, Some(0), "{}{}", baked.text(), baked.stderr);
    let images: Vec<Value> = serde_json::from_str(&baked.text()).unwrap();
    assert!(images.iter().all(|image| image["stage"] == "done"), "{images:#?}");
    images
}

async fn ids(cloud: &Cloud) -> BTreeSet<String> {
    cloud.mock.instances().await.into_iter().map(|instance| instance.id).collect()
}

#[tokio::test]
async fn a_job_on_a_baked_image_installs_nothing_and_what_was_baked_is_not_baked_again() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let installation = Installation::start(&sandbox, &cloud, "").await;
    let rest = &installation.rest;
    let images = bake(&installation, &[]).await;
    let ovens = cloud.mock.instances().await;
    assert_eq!(ovens.len(), 2, "a machine for each worker type");
    for oven in &ovens {
        cloud.mock.reaches(&oven.id, "terminated").await;
        assert!(!cloud.asked_of_index(&oven.id).await.is_empty(), "it installed");
    }

    let jobs = [
        workflow("polars", &polars(""), SCRIPT),
        query("duckdb", "SELECT 6 * 7 AS answer; -- not of s3://lake"),
    ];
    let repository = Repository::with(sandbox.join("etl"), jobs);
    rest.register(&repository.url()).await;
    for (image, said) in images.iter().zip(["6\n", "42"]) {
        let before = ids(&cloud).await;
        let id = rest.execute(image["worker_type"].as_str().unwrap(), json!({})).await;
        rest.succeeded(&id).await;
        assert!(String::from_utf8(rest.log(&id, "stream=stdout").await).unwrap().contains(said));
        let mut instances = cloud.mock.instances().await;
        instances.retain(|instance| !before.contains(&instance.id));
        let [instance]: [Instance; 1] = instances.try_into().unwrap();
        assert_eq!(image["image"], instance.image);
        assert_eq!(cloud.asked_of_index(&instance.id).await, [""; 0], "all of it was there");
        cloud.mock.reaches(&instance.id, "terminated").await;
    }

    let before = ids(&cloud).await;
    let again = bake(&installation, &[]).await;
    let names = |images: &[Value]| -> Vec<Value> { images.iter().map(|it| it["image"].clone()).collect() };
    assert_eq!(names(&again), names(&images));
    assert_eq!(ids(&cloud).await, before, "there is one with this content");
}

#[tokio::test]
async fn a_supervisor_that_is_killed_while_it_bakes_goes_on_with_it() {
    let (sandbox, cloud) = (Sandbox::new(), cloud_or_skip!());
    let mut installation = Installation::start(&sandbox, &cloud, "").await;
    let asked = installation.rest.post("/images", json!({"worker_type": "duckdb"})).await.ok();
    let oven = cloud.launched().await;
    cloud.shows(&oven, "making ready for duckdb").await;
    installation.kill();
    installation.again().await;

    let path = format!("/images/{}", asked["id"].as_str().unwrap());
    assert_eq!(installation.rest.get(&path).await.ok()["stage"], "installing", "it is not forgotten");
    let done = until("the image", async || {
        let image = installation.rest.get(&path).await.ok();
        assert_ne!(image["stage"], "failed", "{image:#}");
        (image["stage"] == "done").then_some(image)
    })
    .await;
    assert_eq!(done["begun_at"], asked["begun_at"]);
    cloud.mock.reaches(&oven, "terminated").await;
    assert_eq!(bake(&installation, &["--worker-type", "duckdb"]).await[0]["image"], done["image"]);
    assert_eq!(cloud.mock.instances().await.len(), 1);
}
