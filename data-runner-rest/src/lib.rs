//! The REST API over the engine's [`Handle`](data_runner_engine::Handle): an axum [`router`] that an embedder can nest
//! in an own application, and [`serve`] and [`serve_tls`], a small server for it.
//!
//! - `api`: the JSON of requests and answers.
//! - `hooks`: whether webhooks come from who they say, and what they say.
//! - `http`: how requests are read, guarded and refused.
//! - `log`: logs on their way out, as text, lines or events.
//! - `routes`: the handlers; `router` lists them.

mod agent_binary;
pub mod api;
mod app;
mod hooks;
mod http;
mod log;
mod router;
mod routes;
mod serve;

pub use agent_binary::AgentBinary;
pub use app::Closing;
pub use hooks::{HookSecrets, Hooks};
pub use router::{RouterOptions, openapi, router};
pub use serve::{serve, serve_tls};
