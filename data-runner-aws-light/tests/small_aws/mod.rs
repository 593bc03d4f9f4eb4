//! As much of AWS as the tests need: the metadata service and calls that are answered as told.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post, put};
use data_runner_aws_light::{
    Aws, AwsSecrets, Endpoints, EnvironmentSecrets, Imds, MachineCredentials, SharedCredentialsProvider,
};

#[derive(Clone)]
pub struct SmallAws {
    pub url: String,
    state: Arc<Mutex<Inside>>,
}

#[derive(Default)]
struct Inside {
    tokens: BTreeSet<String>,
    tokens_given: usize,
    metadata: BTreeMap<String, String>,
    answers: BTreeMap<String, (u16, String)>,
    once: VecDeque<(String, u16, String)>,
    calls: Vec<Call>,
}

/// A call as it came.
#[derive(Debug, Clone)]
pub struct Call {
    pub target: String,
    pub authorization: String,
    pub security_token: String,
    pub body: String,
}

impl SmallAws {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let this = Self { url, state: Arc::default() };
        let router = Router::new()
            .route("/latest/api/token", put(token))
            .route("/latest/meta-data/{*path}", get(metadata))
            .route("/", post(call))
            .with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        this
    }

    pub fn metadata(&self, path: &str, text: &str) {
        self.state.lock().unwrap().metadata.insert(path.to_owned(), text.to_owned());
    }

    /// Gives the machine a role whose credentials are good for so long.
    pub fn role(&self, key: &str, life: Duration) {
        let end = jiff::Timestamp::try_from(SystemTime::now() + life).unwrap();
        let credentials = serde_json::json!({
            "Code": "Success", "Type": "AWS-HMAC", "AccessKeyId": key, "SecretAccessKey": "s",
            "Token": "session", "Expiration": end.to_string(),
        });
        self.metadata("iam/security-credentials/", "etl\n");
        self.metadata("iam/security-credentials/etl", &credentials.to_string());
    }

    pub fn answer(&self, operation: &str, status: u16, body: &str) {
        self.state.lock().unwrap().answers.insert(operation.to_owned(), (status, body.to_owned()));
    }

    pub fn answer_once(&self, operation: &str, status: u16, body: &str) {
        self.state.lock().unwrap().once.push_back((operation.to_owned(), status, body.to_owned()));
    }

    pub fn forget_tokens(&self) {
        self.state.lock().unwrap().tokens.clear();
    }

    pub fn tokens(&self) -> usize {
        self.state.lock().unwrap().tokens_given
    }

    pub fn calls(&self) -> Vec<Call> {
        self.state.lock().unwrap().calls.clone()
    }

    /// A client with the role's credentials.
    pub fn client(&self) -> Aws {
        let credentials = MachineCredentials::new(Some(Imds::new(&self.url).unwrap()));
        let endpoints = Endpoints { all: Some(self.url.clone()), ..Endpoints::default() };
        Aws::new(SharedCredentialsProvider::new(credentials), Some("eu-west-1".to_owned()), endpoints)
    }

    pub fn secrets(&self) -> AwsSecrets {
        AwsSecrets::new(self.client(), EnvironmentSecrets::Refused)
    }
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map_or(String::new(), |value| value.to_str().unwrap().to_owned())
}

async fn token(State(aws): State<SmallAws>, headers: HeaderMap) -> (StatusCode, String) {
    if header(&headers, "x-aws-ec2-metadata-token-ttl-seconds").is_empty() {
        return (StatusCode::BAD_REQUEST, String::new());
    }
    let mut inside = aws.state.lock().unwrap();
    inside.tokens_given += 1;
    let token = format!("token-{}", inside.tokens_given);
    inside.tokens.insert(token.clone());
    (StatusCode::OK, token)
}

async fn metadata(
    State(aws): State<SmallAws>,
    Path(path): Path<String>,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let inside = aws.state.lock().unwrap();
    if !inside.tokens.contains(&header(&headers, "x-aws-ec2-metadata-token")) {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    match inside.metadata.get(&path) {
        Some(text) => (StatusCode::OK, text.clone()),
        None => (StatusCode::NOT_FOUND, String::new()),
    }
}

async fn call(State(aws): State<SmallAws>, headers: HeaderMap, body: String) -> (StatusCode, String) {
    let target = header(&headers, "x-amz-target");
    let mut inside = aws.state.lock().unwrap();
    inside.calls.push(Call {
        target: target.clone(),
        authorization: header(&headers, "authorization"),
        security_token: header(&headers, "x-amz-security-token"),
        body,
    });
    let operation = target.rsplit('.').next().unwrap();
    let next = inside.once.iter().position(|(name, ..)| name == operation);
    let (status, body) = match next.and_then(|at| inside.once.remove(at)) {
        Some((_, status, body)) => (status, body),
        None => inside.answers.get(operation).cloned().unwrap_or((500, "{}".to_owned())),
    };
    (StatusCode::from_u16(status).unwrap(), body)
}
