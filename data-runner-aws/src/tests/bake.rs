//! Images that are made of a machine.

use base64::Engine as _;
use data_runner_core::port::{BakeStage, Image, ImageBaker as _, WantedImage};

use super::fake::{Fake, FakeImage, Fault};
use super::*;
use crate::Ec2Baker;

fn wanted() -> WantedImage {
    WantedImage { worker_type: sample::polars(), architecture: Architecture::X86_64 }
}

fn baker(provisioner: &Ec2Provisioner) -> Ec2Baker {
    provisioner.baker().looking_every(Duration::from_millis(5))
}

/// Another process, that was started after this one was killed; what this one still does it does for nothing.
async fn restarted(fake: &Fake) -> (Ec2Provisioner, Arc<Ec2Baker>) {
    let provisioner = provisioner(fake).await;
    let baker = Arc::new(baker(&provisioner));
    baker.go_on();
    (provisioner, baker)
}

/// A process that is killed in the midst of `work`: nothing of it goes on.
fn killed<T: Send>(work: impl Future<Output = T> + Send) -> T {
    std::thread::scope(|scope| {
        let process = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            let done = runtime.block_on(work);
            runtime.shutdown_background();
            done
        });
        process.join().unwrap()
    })
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

/// The content of an image that was begun by a process that was killed once this was so.
fn killed_at(fake: &Fake, is: impl Fn(&BakeStage) -> bool + Send) -> Sha256 {
    killed(async {
        let baker = baker(&provisioner(fake).await);
        let begun = baker.begin(wanted()).await.unwrap();
        until(&baker, is).await;
        begun.content
    })
}

async fn nothing_is_left_but(fake: &Fake, images: usize) {
    for _ in 0..400 {
        if fake.machines().iter().all(|machine| machine.state == "shutting-down") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(fake.machines().iter().all(|machine| machine.state == "shutting-down"));
    assert_eq!(fake.world(|world| world.made.len()), images);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_was_killed_while_a_machine_installs_goes_on_with_it() {
    let fake = Fake::start().await;
    let content = killed_at(&fake, |stage| *stage == BakeStage::Installing);
    let (provisioner, baker) = restarted(&fake).await;
    let shown = baker.images().await.unwrap();
    assert_eq!((&shown[0].content, &shown[0].stage), (&content, &BakeStage::Installing));
    assert_eq!(provisioner.list().await.unwrap(), [], "the reaper does not see it");
    assert_eq!(baker.begin(wanted()).await.unwrap(), shown[0], "it is the same");

    powers_off(&fake, &format!("data-runner: baked {content}"));
    let done = until(&baker, |stage| matches!(stage, BakeStage::Done { .. })).await;
    assert_eq!((&done.content, done.begun_at), (&content, shown[0].begun_at));
    nothing_is_left_but(&fake, 1).await;
    assert_eq!(fake.calls("RunInstances").len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supervisor_that_was_killed_while_ec2_makes_the_image_makes_no_second_one() {
    let fake = Fake::start().await;
    fake.world(|world| world.new_images = Some("pending"));
    let content = killed(async {
        let baker = baker(&provisioner(&fake).await);
        let begun = baker.begin(wanted()).await.unwrap();
        until(&baker, |stage| *stage == BakeStage::Installing).await;
        powers_off(&fake, &format!("data-runner: baked {}", begun.content));
        until(&baker, |stage| matches!(stage, BakeStage::Snapshotting { .. })).await;
        begun.content
    });
    // The console is kept for an hour only, and is not asked for again.
    fake.world(|world| world.console = None);
    let (_, baker) = restarted(&fake).await;
    until(&baker, |stage| matches!(stage, BakeStage::Snapshotting { .. })).await;
    assert_eq!(fake.machines()[0].state, "stopped", "it is not ended under its image");
    fake.world(|world| world.made[0].state = "available");
    let done = until(&baker, |stage| matches!(stage, BakeStage::Done { .. })).await;
    assert_eq!(done.content, content);
    nothing_is_left_but(&fake, 1).await;
    assert_eq!(fake.calls("CreateImage").len(), 1);
}

#[tokio::test]
async fn an_image_that_ec2_cannot_make_is_removed_with_its_machine() {
    let fake = Fake::start().await;
    fake.world(|world| world.new_images = Some("failed"));
    let baker = baker(&provisioner(&fake).await);
    let begun = baker.begin(wanted()).await.unwrap();
    until(&baker, |stage| *stage == BakeStage::Installing).await;
    powers_off(&fake, &format!("data-runner: baked {}", begun.content));
    until(&baker, |stage| matches!(stage, BakeStage::Failed { .. })).await;
    nothing_is_left_but(&fake, 0).await;
    assert_eq!(fake.calls("DeregisterImage")[0].parameters["DeleteAssociatedSnapshots"], "true");
}

#[tokio::test]
async fn half_an_image_that_was_left_behind_is_removed() {
    let fake = Fake::start().await;
    let (ours, theirs) = ("prod-us", "prod-eu");
    for (number, installation) in [ours, theirs].into_iter().enumerate() {
        let tags = [("data-runner:installation", installation), ("data-runner:baked", "x")];
        let tags = tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let (id, state) = (format!("ami-made-{number}"), "failed");
        fake.world(|world| world.made.push(FakeImage { name: id.clone(), id, state, tags }));
    }
    let (_, baker) = restarted(&fake).await;
    assert_eq!(baker.images().await.unwrap(), []);
    assert_eq!(fake.world(|world| world.made[0].id.clone()), "ami-made-1", "another's is not touched");
    nothing_is_left_but(&fake, 1).await;
}

#[tokio::test]
async fn an_image_whose_making_was_not_answered_is_found_by_its_name() {
    let fake = Fake::start().await;
    let baker = baker(&provisioner(&fake).await);
    fake.fail("CreateImage", [Fault::LoseReply]);
    let begun = baker.begin(wanted()).await.unwrap();
    until(&baker, |stage| *stage == BakeStage::Installing).await;
    powers_off(&fake, &format!("data-runner: baked {}", begun.content));
    until(&baker, |stage| matches!(stage, BakeStage::Done { .. })).await;
    nothing_is_left_but(&fake, 1).await;
}
