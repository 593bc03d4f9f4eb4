//! Images that are made of a machine.

use base64::Engine as _;
use data_runner_core::port::{BakeStage, Image, ImageBaker as _, WantedImage};

use super::fake::{Fake, Fault};
use super::*;
use crate::Ec2Baker;

fn wanted() -> WantedImage {
    WantedImage { worker_type: sample::polars(), architecture: Architecture::X86_64 }
}

fn baker(provisioner: &Ec2Provisioner) -> Ec2Baker {
    provisioner.baker().looking_every(Duration::from_millis(5))
}

/// The machine says this on its console, and powers off.
fn powers_off(fake: &Fake, says: &str) {
    let console = base64::engine::general_purpose::STANDARD.encode(says);
    fake.world(|world| {
        world.console = Some(console);
        world.machines[0].state = "stopped";
    });
}

async fn until(baker: &Ec2Baker, is: impl Fn(&BakeStage) -> bool) -> Image {
    for _ in 0..2_000 {
        let images = baker.images().await.unwrap();
        if let Some(image) = images.into_iter().find(|image| is(&image.stage)) {
            return image;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it never came to that: {:?}", baker.images().await)
}

#[tokio::test]
async fn an_image_is_made_of_a_machine_and_used_by_the_next() {
    let fake = Fake::start().await;
    let provisioner = provisioner(&fake).await;
    let baker = baker(&provisioner);
    let begun = baker.begin(wanted()).await.unwrap();
    assert_eq!(begun.stage, BakeStage::Launching);
    until(&baker, |stage| *stage == BakeStage::Installing).await;
    let launch = fake.calls("RunInstances").remove(0).parameters;
    assert_eq!(launch["InstanceInitiatedShutdownBehavior"], "stop", "it must be there when it is off");
    assert_eq!(provisioner.list().await.unwrap(), [], "nobody takes it for a worker's");
    let again = baker.begin(wanted()).await.unwrap();
    assert_eq!(again.content, begun.content);

    powers_off(&fake, &format!("data-runner: baked {}", begun.content));
    let done = until(&baker, |stage| matches!(stage, BakeStage::Done { .. })).await;
    assert_eq!((done.content, done.worker_type), (begun.content, sample::polars()));
    assert_eq!(fake.calls("RunInstances").len(), 1);
    for _ in 0..400 {
        if fake.machines()[0].state == "shutting-down" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(fake.machines()[0].state, "shutting-down", "nothing but the image is left");

    let candidate = candidate(&provisioner).await;
    assert_eq!(candidate.request["image"], "ami-made-1");
    assert_eq!(candidate.request["baked"], true);
    // Also after a restart; and for nobody else, and for no other agent.
    let mut newer = options();
    assert_eq!(
        self::candidate(&with_options(&fake, newer.clone()).await).await.request["image"],
        "ami-made-1"
    );
    newer.agents.get_mut(&Architecture::X86_64).unwrap().sha256 = Sha256::of(b"newer");
    assert_eq!(self::candidate(&with_options(&fake, newer).await).await.request["image"], "ami-x86");
    let mut elsewhere = options();
    elsewhere.installation = "prod-eu".into();
    assert_eq!(self::candidate(&with_options(&fake, elsewhere).await).await.request["image"], "ami-x86");
}

#[tokio::test]
async fn what_fails_says_why_leaves_nothing_and_can_be_begun_again() {
    let fake = Fake::start().await;
    let provisioner = provisioner(&fake).await;
    let baker = baker(&provisioner);
    baker.begin(wanted()).await.unwrap();
    until(&baker, |stage| *stage == BakeStage::Installing).await;
    powers_off(&fake, "data-runner: this machine cannot be made ready: installing Python failed");
    let failed = until(&baker, |stage| matches!(stage, BakeStage::Failed { .. })).await;
    let BakeStage::Failed { message, hint, .. } = failed.stage else { unreachable!() };
    assert!(message.contains("installing Python failed") && hint.is_some(), "{message}");
    assert_eq!(fake.machines()[0].state, "shutting-down");
    assert_eq!(fake.calls("CreateImage").len(), 0);
    assert_eq!(provisioner.list().await.unwrap().len(), 1, "from now on it is the reaper's");

    assert_eq!(baker.begin(wanted()).await.unwrap().stage, BakeStage::Launching);
}

#[tokio::test]
async fn an_image_that_may_not_be_made_ends_its_machine_too() {
    let fake = Fake::start().await;
    let baker = baker(&provisioner(&fake).await);
    fake.fail("CreateImage", [Fault::Refuse(403, "UnauthorizedOperation", "no".into())]);
    let begun = baker.begin(wanted()).await.unwrap();
    until(&baker, |stage| *stage == BakeStage::Installing).await;
    powers_off(&fake, &format!("data-runner: baked {}", begun.content));
    until(&baker, |stage| matches!(stage, BakeStage::Failed { .. })).await;
    assert_eq!(fake.machines()[0].state, "shutting-down");
}
