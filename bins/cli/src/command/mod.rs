//! One module a command, or a few that belong together.

mod api;
mod completion;
mod context;
mod contexts;
mod cost;
mod doctor;
mod execution_view;
mod follow;
mod image;
mod init;
mod list;
mod live;
mod run;
mod schema;
mod token;
mod validate;
mod worker;
mod workflow;

pub use api::api;
pub use completion::completion;
pub use context::Context;
pub use contexts::contexts;
pub use cost::{cost, plan};
pub use doctor::doctor;
pub use execution_view::took;
pub use follow::until_ended;
pub use image::image;
pub use init::init;
pub use list::{logs, ps, show};
pub use run::{cancel, repeat, run, wait};
pub use schema::schema;
pub use token::token;
pub use validate::validate;
pub use worker::worker;
pub use workflow::workflow;
