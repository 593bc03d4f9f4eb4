//! The REST API over the engine's [`Handle`](data_runner_engine::supervisor::Handle): an axum router that an embedder
//! can nest in an own application, and a small server for it.

pub mod api;
