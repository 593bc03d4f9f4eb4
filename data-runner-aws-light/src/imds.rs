//! The instance metadata service, version 2: a token first, then whatever is asked for. Version 1, which answers
//! anybody, is never used.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::StatusCode;
use tokio::sync::Mutex;

use crate::{Variables, of_process};

const USUAL_ENDPOINT: &str = "http://169.254.169.254";
const TOKEN: &str = "x-aws-ec2-metadata-token";
const TOKEN_TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";

/// How long a token is asked for, and used: the longest that there is, and a little less.
const LIFE: u32 = 21_600;
const USED_FOR: Duration = Duration::from_secs(21_000);

/// The service is on the machine itself: what takes longer than this is not there.
const CONNECT: Duration = Duration::from_secs(1);
const ANSWER: Duration = Duration::from_secs(2);

/// A client of the metadata service. Clones share their token.
#[derive(Debug, Clone)]
pub struct Imds {
    endpoint: String,
    http: reqwest::Client,
    token: Arc<Mutex<Option<Token>>>,
}

#[derive(Clone)]
struct Token {
    text: String,
    until: Instant,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Token").field("until", &self.until).finish_non_exhaustive()
    }
}

/// Why the metadata service gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ImdsError {
    /// Nothing answers: this is no EC2 machine, or its metadata service is off or out of reach.
    #[error("the instance metadata service at {endpoint} does not answer")]
    Unreachable {
        /// Where it was asked.
        endpoint: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// It answered with a status that is neither success nor "there is none".
    #[error("the instance metadata service answered {status} to {path}")]
    Status {
        /// What was asked for.
        path: String,
        /// The answer.
        status: StatusCode,
    },
    /// `AWS_EC2_METADATA_DISABLED` is set.
    #[error("the instance metadata service is not asked: AWS_EC2_METADATA_DISABLED is true")]
    Disabled,
    /// The client could not be made.
    #[error("no HTTP client for the instance metadata service")]
    Client(#[source] reqwest::Error),
}

impl Imds {
    /// A client of the service at `endpoint`, such as `http://169.254.169.254`. Nothing is asked yet.
    pub fn new(endpoint: &str) -> Result<Self, ImdsError> {
        // Never by a proxy: it would give the proxy's identity. No certificates are read, for it is plain HTTP.
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(ImdsError::Client)?;
        Ok(Self { endpoint: endpoint.trim_end_matches('/').to_owned(), http, token: Arc::default() })
    }

    /// The service of this machine, as the environment says where it is.
    pub fn from_env() -> Result<Self, ImdsError> {
        Self::from_variables(&of_process)
    }

    fn from_variables(variable: Variables<'_>) -> Result<Self, ImdsError> {
        if variable("AWS_EC2_METADATA_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Err(ImdsError::Disabled);
        }
        let endpoint = variable("AWS_EC2_METADATA_SERVICE_ENDPOINT");
        Self::new(endpoint.as_deref().unwrap_or(USUAL_ENDPOINT))
    }

    /// Where the service is.
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// The text at `path`, such as `placement/region` (below `/latest/meta-data/`). `None`: there is none.
    pub async fn get(&self, path: &str) -> Result<Option<String>, ImdsError> {
        let answer = self.ask(path, &self.token().await?).await?;
        // A machine that was restored or a service that was restarted knows the token no longer.
        let answer = if answer.status() == StatusCode::UNAUTHORIZED {
            *self.token.lock().await = None;
            self.ask(path, &self.token().await?).await?
        } else {
            answer
        };
        match answer.status() {
            StatusCode::NOT_FOUND => Ok(None),
            status if status.is_success() => {
                let text = answer.text().await.map_err(|source| self.unreachable(source))?;
                Ok(Some(text))
            }
            status => Err(ImdsError::Status { path: path.to_owned(), status }),
        }
    }

    /// The machine's region. `None`: the service does not say.
    pub async fn region(&self) -> Result<Option<String>, ImdsError> {
        Ok(self.get("placement/region").await?.map(|region| region.trim().to_owned()))
    }

    async fn ask(&self, path: &str, token: &str) -> Result<reqwest::Response, ImdsError> {
        let url = format!("{}/latest/meta-data/{path}", self.endpoint);
        self.http.get(url).header(TOKEN, token).send().await.map_err(|source| self.unreachable(source))
    }

    async fn token(&self) -> Result<String, ImdsError> {
        let mut kept = self.token.lock().await;
        if let Some(token) = kept.as_ref().filter(|token| Instant::now() < token.until) {
            return Ok(token.text.clone());
        }
        let path = "/latest/api/token";
        let request = self.http.put(format!("{}{path}", self.endpoint)).header(TOKEN_TTL, LIFE);
        let answer = request.send().await.map_err(|source| self.unreachable(source))?;
        if !answer.status().is_success() {
            return Err(ImdsError::Status { path: path.to_owned(), status: answer.status() });
        }
        let text = answer.text().await.map_err(|source| self.unreachable(source))?;
        *kept = Some(Token { text: text.clone(), until: Instant::now() + USED_FOR });
        Ok(text)
    }

    fn unreachable(&self, source: reqwest::Error) -> ImdsError {
        ImdsError::Unreachable { endpoint: self.endpoint.clone(), source: source.without_url() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_environment_moves_it_and_switches_it_off() {
        let moved = |name: &str| {
            (name == "AWS_EC2_METADATA_SERVICE_ENDPOINT").then(|| "http://[fd00:ec2::254]/".to_owned())
        };
        assert_eq!(Imds::from_variables(&moved).unwrap().endpoint(), "http://[fd00:ec2::254]");
        assert_eq!(Imds::from_variables(&|_| None).unwrap().endpoint(), USUAL_ENDPOINT);
        let off = |name: &str| (name == "AWS_EC2_METADATA_DISABLED").then(|| "TRUE".to_owned());
        assert!(matches!(Imds::from_variables(&off), Err(ImdsError::Disabled)));
    }
}
