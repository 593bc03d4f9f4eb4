//! `/images`: machines that are ready sooner.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use data_runner_core::port::{BakeError, ImageBaker, WantedImage};
use http::StatusCode;

use crate::api::{BakeImage, Image, Page, Problem};
use crate::app::App;
use crate::http::body::Body;
use crate::http::path::Segments;
use crate::http::query::Params;
use crate::http::refusal::{Kind, Refusal};

/// Begins to bake an image for a worker type; machines that are planned when it is done use it. What goes into it is the
/// same: the image that there is, or is being baked, is answered. `GET /images/{image}` tells how far it is.
#[utoipa::path(
    post, path = "/images", tag = "images", security(("token" = ["admin"])), request_body = BakeImage,
    responses(
        (status = 202, body = Image),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "This server bakes no images"),
        (status = 422, body = Problem, content_type = "application/problem+json"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "The cloud did not answer"),
    )
)]
pub(crate) async fn bake(
    State(app): State<App>,
    Body(body): Body<BakeImage>,
) -> Result<(StatusCode, Json<Image>), Refusal> {
    let wanted = WantedImage { worker_type: body.worker_type, architecture: body.architecture };
    let image = baker(&app)?.begin(wanted).await?;
    Ok((StatusCode::ACCEPTED, Json(Image::from(&image))))
}

/// Lists images, the newest first: all that are baked, are being baked, or could not be baked.
#[utoipa::path(
    get, path = "/images", tag = "images", security(("token" = ["read"])),
    responses(
        (status = 200, body = Page<Image>),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "This server bakes no images"),
        (status = 502, body = Problem, content_type = "application/problem+json", description = "The cloud did not answer"),
    )
)]
pub(crate) async fn list(State(app): State<App>, query: Params) -> Result<Json<Page<Image>>, Refusal> {
    query.finish()?;
    let images = baker(&app)?.images().await?;
    Ok(Json(Page { items: images.iter().map(Image::from).collect(), next_cursor: None }))
}

/// One image.
#[utoipa::path(
    get, path = "/images/{image}", tag = "images", security(("token" = ["read"])),
    params(("image" = String, Path, description = "Its id")),
    responses(
        (status = 200, body = Image),
        (status = 404, body = Problem, content_type = "application/problem+json"),
        (status = 409, body = Problem, content_type = "application/problem+json", description = "This server bakes no images"),
    )
)]
pub(crate) async fn get(
    State(app): State<App>,
    Segments(given): Segments<String>,
) -> Result<Json<Image>, Refusal> {
    let images = baker(&app)?.images().await?;
    let found = images.iter().find(|image| image.content.as_str() == given);
    let unknown = || Refusal::new(Kind::ImageNotFound, format!("there is no image {given:?}"));
    found.map(|image| Json(Image::from(image))).ok_or_else(unknown)
}

fn baker(app: &App) -> Result<&Arc<dyn ImageBaker>, Refusal> {
    app.images.as_ref().ok_or_else(|| {
        Refusal::new(Kind::NoImages, "this server starts no machines that could be made of an image")
            .hinting("images are for `provisioner: ec2`")
    })
}

impl From<BakeError> for Refusal {
    fn from(error: BakeError) -> Self {
        match error {
            BakeError::Rejected { message, hint: Some(hint) } => {
                Self::new(Kind::NoMachine, message).hinting(hint)
            }
            BakeError::Rejected { message, hint: None } => Self::new(Kind::NoMachine, message),
            BakeError::Unavailable(source) => {
                tracing::error!(error = &*source as &dyn std::error::Error, "images cannot be reached");
                Self::new(Kind::ProvisionerUnreachable, format!("images cannot be reached: {source}"))
            }
        }
    }
}
