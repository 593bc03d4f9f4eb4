//! All routes, and what stands around them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::DefaultBodyLimit;
use axum::{Router, middleware};
use data_runner_core::port::{Checkup, ImageBaker, SecretProbe};
use data_runner_core::workflow::{Architecture, WorkerTypes};
use data_runner_engine::{Handle, Tokens};
use http::Method;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::agent_binary::AgentBinary;
use crate::app::App;
use crate::hooks::Hooks;
use crate::http::body::LIMIT;
use crate::http::edge;
use crate::http::guard::{self, Hosts};
use crate::http::login::{self, Needed};
use crate::http::refusal::{Kind, Refusal};
use crate::routes::{
    advice, agent, artifacts, bundles, commands, costs, doctor, events, executions, groups, history, hooks,
    images, logs, repos, schedules, secrets, server, tokens, validate, workers, workflows,
};

/// How many machines may fetch their agent at one time.
const DOWNLOADS: usize = 64;

/// How many webhooks are read and checked at one time: whoever sends them need not have shown anything yet.
const HOOKS: usize = 16;

/// How many archives are taken at one time: each is in memory.
const UPLOADS: usize = 4;

/// What a router is made of, beside the engine.
#[derive(Clone)]
pub struct RouterOptions {
    /// The names that the server goes by, beside `localhost` and addresses: the host of its public URL, say. Requests
    /// for other names are refused, since a page whose name was made to point here would send them.
    pub allowed_hosts: Vec<String>,
    /// What `/metrics` renders; `None`: it is not found.
    pub metrics: Option<PrometheusHandle>,
    /// The worker types that `/validate` and the schema of configurations know; the same as the supervisor's.
    pub worker_types: WorkerTypes,
    /// How long an answer may take to begin. Registering a repository clones it within this time. Default: 2 minutes.
    pub answer_within: Duration,
    /// How many streams (followed logs, events) may be open at one time. Default: 1024.
    pub streams: usize,
    /// Who may come in. `None`: whoever reaches the address may do everything, which is for loopback only.
    pub login: Option<Tokens>,
    /// The agent's program for each architecture, which machines fetch when they start.
    pub agents: BTreeMap<Architecture, AgentBinary>,
    /// Bakes images; `None` where machines are not made of any.
    pub images: Option<Arc<dyn ImageBaker>>,
    /// What the senders of webhooks are known by; `None`: all webhooks are refused.
    pub hooks: Option<Arc<Hooks>>,
    /// What `/doctor` asks.
    pub checkups: Vec<Arc<dyn Checkup>>,
    /// Looks whether workers can read the secrets of workflows; `None`: nobody knows.
    pub secrets: Option<Arc<dyn SecretProbe>>,
}

impl Default for RouterOptions {
    fn default() -> Self {
        Self {
            allowed_hosts: Vec::new(),
            metrics: None,
            worker_types: WorkerTypes::default(),
            answer_within: Duration::from_secs(120),
            streams: 1024,
            login: None,
            agents: BTreeMap::new(),
            images: None,
            hooks: None,
            checkups: Vec::new(),
            secrets: None,
        }
    }
}

#[derive(utoipa::OpenApi)]
#[openapi(info(
    title = "Data Runner",
    description = "Runs data workflows from git repositories on workers. Errors are problem documents (RFC 9457), times are RFC 3339 in UTC, ids are UUIDv7, listings are read page by page with `cursor`.",
    license(name = "Apache-2.0", identifier = "Apache-2.0")
), modifiers(&Login))]
struct Document;

/// The tokens that routes ask for.
struct Login;

impl Modify for Login {
    fn modify(&self, document: &mut OpenApi) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("An API token; each scope includes those before it: read, run, admin."));
        let components = document.components.get_or_insert_default();
        components.add_security_scheme(login::SCHEME, SecurityScheme::Http(bearer.build()));
        let signature = ApiKeyValue::with_description(
            "X-Hub-Signature-256",
            "A webhook's own signature: this header of GitHub's, webhook-signature or X-Gitlab-Token of GitLab's.",
        );
        components.add_security_scheme(login::SIGNED, SecurityScheme::ApiKey(ApiKey::Header(signature)));
    }
}

/// The REST API as a router, to be served by [`serve`](crate::serve) or nested in an own application.
pub fn router(handle: Handle, options: RouterOptions) -> Router {
    let (routes, document) = routes().split_for_parts();
    let app = App {
        handle,
        worker_types: Arc::new(options.worker_types),
        metrics: options.metrics,
        streams: Arc::new(Semaphore::new(options.streams)),
        openapi: written(&document).into(),
        tokens: options.login.clone(),
        agents: Arc::new(options.agents),
        images: options.images,
        checkups: options.checkups.into(),
        secrets: options.secrets,
        downloads: Arc::new(Semaphore::new(DOWNLOADS)),
        hooks: options.hooks,
        hooks_at_once: Arc::new(Semaphore::new(HOOKS)),
        uploads: Arc::new(Semaphore::new(UPLOADS)),
    };
    let hosts = Hosts(Arc::new(options.allowed_hosts));
    let needed = Needed::from_document(&serde_json::to_value(&document).unwrap_or_default(), &TWO_SEGMENTS);
    let mut routes = routes
        .merge(two_segments())
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(DefaultBodyLimit::max(LIMIT))
        .layer(CatchPanicLayer::custom(edge::panicked))
        .layer(middleware::from_fn_with_state(options.answer_within, edge::bound));
    if let Some(tokens) = options.login {
        routes = routes.layer(middleware::from_fn_with_state((needed, tokens), login::check));
    }
    routes
        .layer(middleware::from_fn_with_state(hosts, guard::check))
        .layer(middleware::from_fn(edge::measure))
        .with_state(app)
}

/// The OpenAPI document, as `/openapi.json` gives it.
pub fn openapi() -> String {
    written(&routes().split_for_parts().1)
}

fn written(document: &utoipa::openapi::OpenApi) -> String {
    // Plain data; were it ever not, an empty document would fail the test that compares it.
    document.to_pretty_json().unwrap_or_default()
}

fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Document::openapi())
        .routes(routes!(workflows::register, workflows::list))
        .routes(routes!(workflows::get, workflows::patch, workflows::delete))
        .routes(routes!(workflows::execute))
        .routes(routes!(workflows::plan))
        .routes(routes!(advice::advice))
        .routes(routes!(history::history))
        .routes(routes!(history::diff))
        .routes(routes!(secrets::check))
        .routes(routes!(bundles::upload))
        .routes(routes!(groups::backfill))
        .routes(routes!(groups::list))
        .routes(routes!(groups::get))
        .routes(routes!(groups::pause))
        .routes(routes!(groups::resume))
        .routes(routes!(groups::cancel))
        .routes(routes!(costs::sum))
        .routes(routes!(executions::list))
        .routes(routes!(executions::get))
        .routes(routes!(executions::lock))
        .routes(routes!(executions::events))
        .routes(routes!(artifacts::list))
        .routes(routes!(artifacts::get))
        .routes(routes!(history::executions_diff))
        .routes(routes!(history::definition))
        .routes(routes!(commands::cancel))
        .routes(routes!(commands::retry))
        .routes(routes!(commands::rerun))
        .routes(routes!(logs::get))
        .routes(routes!(workers::list))
        .routes(routes!(workers::get, workers::terminate))
        .routes(routes!(workers::drain))
        .routes(routes!(repos::list))
        .routes(routes!(schedules::list))
        .routes(routes!(repos::sync))
        .routes(routes!(events::stream))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(agent::download))
        .routes(routes!(images::bake, images::list))
        .routes(routes!(images::get))
        .routes(routes!(hooks::github))
        .routes(routes!(hooks::gitlab))
        .routes(routes!(doctor::check))
        .routes(routes!(validate::validate))
        .routes(routes!(server::healthz))
        .routes(routes!(server::readyz))
        .routes(routes!(server::version))
        .routes(routes!(server::metrics))
        .routes(routes!(server::openapi))
        .routes(routes!(server::config_schema))
}

/// What the document calls the routes of [`two_segments`].
const TWO_SEGMENTS: [(&str, &str); 8] = [
    ("/workflows/{workflow}/{name}", "/workflows/{workflow}"),
    ("/workflows/{workflow}/{name}/execute", "/workflows/{workflow}/execute"),
    ("/workflows/{workflow}/{name}/plan", "/workflows/{workflow}/plan"),
    ("/workflows/{workflow}/{name}/advice", "/workflows/{workflow}/advice"),
    ("/workflows/{workflow}/{name}/backfill", "/workflows/{workflow}/backfill"),
    ("/workflows/{workflow}/{name}/history", "/workflows/{workflow}/history"),
    ("/workflows/{workflow}/{name}/diff", "/workflows/{workflow}/diff"),
    ("/workflows/{workflow}/{name}/secrets", "/workflows/{workflow}/secrets"),
];

/// `repo/name` without encoding its slash. OpenAPI knows no parameter of two segments, so these are not in the document.
fn two_segments() -> Router<App> {
    use axum::routing::{get, post};
    Router::new()
        .route(
            "/workflows/{workflow}/{name}",
            get(workflows::get).patch(workflows::patch).delete(workflows::delete),
        )
        .route("/workflows/{workflow}/{name}/execute", post(workflows::execute))
        .route("/workflows/{workflow}/{name}/plan", get(workflows::plan))
        .route("/workflows/{workflow}/{name}/advice", get(advice::advice))
        .route("/workflows/{workflow}/{name}/backfill", post(groups::backfill))
        .route("/workflows/{workflow}/{name}/history", get(history::history))
        .route("/workflows/{workflow}/{name}/diff", get(history::diff))
        .route("/workflows/{workflow}/{name}/secrets", get(secrets::check))
}

async fn not_found(method: Method, uri: http::Uri) -> Refusal {
    Refusal::new(Kind::RouteNotFound, format!("there is no route {method} {}", uri.path()))
}

async fn method_not_allowed(method: Method, uri: http::Uri) -> Refusal {
    Refusal::new(Kind::MethodNotAllowed, format!("{} does not take {method}", uri.path()))
}
