//! What the handlers share.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::extract::NestedPath;
use data_runner_core::port::{Checkup, ImageBaker, SecretProbe};
use data_runner_core::workflow::{Architecture, WorkerTypes};
use data_runner_engine::{Handle, Tokens};
use http::request::Parts;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::agent_binary::AgentBinary;
use crate::hooks::Hooks;
use crate::http::refusal::{Kind, Refusal};

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct App {
    pub(crate) handle: Handle,
    pub(crate) worker_types: Arc<WorkerTypes>,
    pub(crate) metrics: Option<PrometheusHandle>,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) openapi: Arc<str>,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) agents: Arc<BTreeMap<Architecture, AgentBinary>>,
    pub(crate) downloads: Arc<Semaphore>,
    pub(crate) hooks: Option<Arc<Hooks>>,
    pub(crate) hooks_at_once: Arc<Semaphore>,
    pub(crate) uploads: Arc<Semaphore>,
    pub(crate) images: Option<Arc<dyn ImageBaker>>,
    pub(crate) checkups: Arc<[Arc<dyn Checkup>]>,
    pub(crate) secrets: Option<Arc<dyn SecretProbe>>,
}

impl App {
    /// The right to send one more archive.
    pub(crate) fn open_upload(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.uploads).try_acquire_owned().map_err(|_| {
            Refusal::new(Kind::TooManyUploads, "as many archives are taken as may be at one time")
        })
    }

    /// The right to have one more webhook looked at.
    pub(crate) fn open_hook(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.hooks_at_once).try_acquire_owned().map_err(|_| {
            Refusal::new(Kind::TooManyHooks, "as many webhooks are looked at as may be at one time")
        })
    }

    /// The right to hold one more stream open.
    pub(crate) fn open_stream(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_| Refusal::new(Kind::TooManyStreams, "as many streams are open as may be"))
    }
}

/// Tells the streams of a connection that the server ends. [`serve`](crate::serve) gives one to each request; an
/// embedder that serves the router itself adds it as an extension, or its streams go on until their readers leave.
#[derive(Debug, Clone, Default)]
pub struct Closing(pub CancellationToken);

impl<S: Send + Sync> FromRequestParts<S> for Closing {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Ok(parts.extensions.get::<Self>().cloned().unwrap_or_default())
    }
}

/// Where the router is nested, so that what it points to is found.
pub(crate) struct Prefix(String);

impl Prefix {
    /// The address of an execution.
    pub(crate) fn execution(&self, id: impl std::fmt::Display) -> String {
        format!("{}/executions/{id}", self.0)
    }

    /// The address of a group.
    pub(crate) fn group(&self, id: impl std::fmt::Display) -> String {
        format!("{}/groups/{id}", self.0)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Prefix {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        let nested = NestedPath::from_request_parts(parts, state).await;
        Ok(Self(nested.map_or_else(|_| String::new(), |path| path.as_str().trim_end_matches('/').to_owned())))
    }
}
