//! `image`: images that make machines ready sooner.

use std::time::Duration;

use data_runner_rest::api::Image;
use jiff::Timestamp;
use serde_json::json;

use super::context::Context;
use crate::args::{BakeArgs, ImageCommand};
use crate::error::Error;
use crate::output::{Field, Table, cut, say, style, time, whole};

/// How often to ask how far an image is; baking one takes minutes.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Does what was asked about images.
pub async fn image(command: &ImageCommand, context: &Context) -> Result<u8, Error> {
    match command {
        ImageCommand::List => {
            let images: Vec<Image> = listed(context).await?;
            if images.is_empty() && context.output.is_table() {
                say("no image yet; `data-runner image bake` makes one for each worker type");
                return Ok(0);
            }
            show(context, &images)?;
            Ok(0)
        }
        ImageCommand::Bake(args) => bake(args, context).await,
    }
}

/// Begins all of them, then waits for all; 1 if one fails.
async fn bake(args: &BakeArgs, context: &Context) -> Result<u8, Error> {
    let mut images: Vec<Image> = Vec::new();
    for worker_type in &args.worker_types {
        let body = json!({"worker_type": worker_type, "architecture": args.architecture});
        images.push(context.client.post("/images", &body, None).await?);
    }
    if !args.detach {
        for image in &mut images {
            follow(image, context).await?;
        }
    }
    show(context, &images)?;
    for image in images.iter().filter(|image| image.stage == "failed") {
        let message = image.message.clone().unwrap_or_else(|| "it failed".to_owned());
        say(&format!("{} the image for {}: {message}", style::error("failed"), image.worker_type));
        if let Some(hint) = &image.hint {
            say(&format!("  {} {hint}", style::help("help:")));
        }
    }
    Ok(u8::from(images.iter().any(|image| image.stage == "failed")))
}

/// Waits until an image has ended, and says when it comes to another stage.
async fn follow(image: &mut Image, context: &Context) -> Result<(), Error> {
    let mut said = String::new();
    loop {
        if said != image.stage {
            said.clone_from(&image.stage);
            let took = time::duration(time::between(image.begun_at, Timestamp::now()));
            say(&format!("{} {} {}", image.worker_type, image.stage, style::dim(&format!("after {took}"))));
        }
        if image.ended_at.is_some() {
            return Ok(());
        }
        tokio::time::sleep(ASK_EVERY).await;
        *image = context.client.get(&format!("/images/{}", image.id)).await?;
    }
}

async fn listed(context: &Context) -> Result<Vec<Image>, Error> {
    let page: data_runner_rest::api::Page<Image> = context.client.get("/images").await?;
    Ok(page.items)
}

fn show(context: &Context, images: &[Image]) -> Result<(), Error> {
    let name = |image: &Image| image.image.clone().unwrap_or_else(|| image.id.clone());
    context.output.many(images, name, |all| context.output.draw(&table(all, Timestamp::now())))
}

fn table(images: &[Image], now: Timestamp) -> Table {
    let mut table = Table::new([
        whole("TYPE"),
        whole("ARCHITECTURE"),
        whole("STAGE"),
        whole("IMAGE"),
        whole("BEGUN"),
        whole("TOOK"),
        cut("NOTE"),
    ]);
    for image in images {
        let took = image.ended_at.map(|end| time::duration(time::between(image.begun_at, end)));
        table.row([
            Field::new(image.worker_type.to_string()),
            Field::new(image.architecture.to_string()),
            Field::new(image.stage.clone()),
            Field::new(image.image.clone().unwrap_or_else(|| "-".to_owned())),
            Field::new(time::ago(image.begun_at, now)),
            Field::new(took.unwrap_or_else(|| "-".to_owned())),
            Field::new(image.message.clone().unwrap_or_default()),
        ]);
    }
    table
}
