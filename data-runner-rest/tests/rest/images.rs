//! Images and checkups, of a cloud that a test plays.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use data_runner_core::id::Sha256;
use data_runner_core::port::{BakeError, BakeStage, Checkup, Finding, Image, ImageBaker, WantedImage};
use data_runner_rest::RouterOptions;
use data_runner_testkit::memory::store::MemoryStore;
use data_runner_testkit::sample::at;

use crate::fixture::Rest;

/// Bakes nothing, and shows what a test put there.
#[derive(Default)]
struct Oven(Mutex<Vec<Image>>);

#[async_trait]
impl ImageBaker for Oven {
    async fn begin(&self, wanted: WantedImage) -> Result<Image, BakeError> {
        if wanted.worker_type.as_str() == "fortran" {
            let hint = Some("bake one for polars or duckdb".to_owned());
            return Err(BakeError::Rejected { message: "nobody knows what fortran needs".to_owned(), hint });
        }
        let image = Image {
            content: Sha256::of(wanted.worker_type.as_str().as_bytes()),
            worker_type: wanted.worker_type,
            architecture: wanted.architecture,
            begun_at: at(1),
            stage: BakeStage::Launching,
        };
        self.0.lock().unwrap().insert(0, image.clone());
        Ok(image)
    }

    async fn images(&self) -> Result<Vec<Image>, BakeError> {
        Ok(self.0.lock().unwrap().clone())
    }
}

#[tokio::test]
async fn an_image_is_begun_and_followed_to_its_end() {
    let oven = Arc::new(Oven::default());
    let options = RouterOptions { images: Some(oven.clone()), ..RouterOptions::default() };
    let rest = Rest::over(MemoryStore::new(), options).await;
    let begun = rest.post("/images", r#"{"worker_type": "polars"}"#).await;
    assert_eq!(begun.status, 202, "{}", begun.text());
    let begun = begun.json();
    assert_eq!((&begun["stage"], &begun["architecture"]), (&"launching".into(), &"x86_64".into()));
    let path = format!("/images/{}", begun["id"].as_str().unwrap());
    assert_eq!(rest.get(&path).await.json(), begun);

    oven.0.lock().unwrap()[0].stage = BakeStage::Done { image: "ami-1".to_owned(), at: at(300) };
    let done = rest.get(&path).await.json();
    assert_eq!((&done["stage"], &done["image"]), (&"done".into(), &"ami-1".into()));
    assert_eq!(done["ended_at"], "2026-01-01T00:05:00Z");

    rest.post("/images", r#"{"worker_type": "duckdb", "architecture": "arm64"}"#).await;
    let stage =
        BakeStage::Failed { at: at(9), message: "no subnet".to_owned(), hint: Some("name one".to_owned()) };
    oven.0.lock().unwrap()[0].stage = stage;
    let listed = rest.get("/images").await.json();
    let failed = &listed["items"][0];
    assert_eq!((&failed["stage"], &failed["architecture"]), (&"failed".into(), &"arm64".into()));
    assert_eq!((&failed["message"], &failed["hint"]), (&"no subnet".into(), &"name one".into()));
    assert_eq!(listed["items"].as_array().unwrap().len(), 2);

    let refused = rest.post("/images", r#"{"worker_type": "fortran"}"#).await;
    assert_eq!((refused.status, refused.code().as_str()), (422, "no_machine"));
    assert_eq!(rest.get("/images/none").await.code(), "image_not_found");
}

#[tokio::test]
async fn a_server_without_machines_of_a_cloud_bakes_nothing_and_says_so() {
    let rest = Rest::start().await;
    let answer = rest.post("/images", r#"{"worker_type": "polars"}"#).await;
    assert_eq!((answer.status, answer.code().as_str()), (409, "no_images"));
    assert!(answer.json()["hint"].as_str().unwrap().contains("ec2"), "{}", answer.text());
}

struct Found(Vec<Finding>);

#[async_trait]
impl Checkup for Found {
    async fn check(&self) -> Vec<Finding> {
        self.0.clone()
    }
}

#[tokio::test]
async fn a_checkup_lists_all_findings_and_the_worst_verdict() {
    let found = |findings: &[Finding]| Arc::new(Found(findings.to_vec())) as Arc<dyn Checkup>;
    let checkups = vec![
        found(&[Finding::good("disk", "plenty")]),
        found(&[
            Finding::bad("subnet", "subnet-1 is not there", "mend ec2.subnets"),
            Finding::good("region", "eu-west-1"),
        ]),
    ];
    let options = RouterOptions { checkups, ..RouterOptions::default() };
    let rest = Rest::over(MemoryStore::new(), options).await;
    let answer = rest.get("/doctor").await.json();
    assert_eq!(answer["verdict"], "bad");
    let checks: Vec<_> =
        answer["findings"].as_array().unwrap().iter().map(|it| it["check"].clone()).collect();
    assert_eq!(checks, ["disk", "subnet", "region"]);
    assert_eq!(answer["findings"][1]["help"], "mend ec2.subnets");
    assert_eq!(Rest::start().await.get("/doctor").await.json()["verdict"], "good");
}
