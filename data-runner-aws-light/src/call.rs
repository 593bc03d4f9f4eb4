//! Signed calls of AWS's JSON protocol.

use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials as _, SharedCredentialsProvider};
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::StatusCode;
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::endpoint::Service;
use crate::{Endpoints, Imds, ImdsError, MachineCredentials, of_process};

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(15);

/// How long to wait before each further try of a call that was throttled or met a broken service.
const PAUSES: [Duration; 3] =
    [Duration::from_millis(200), Duration::from_millis(800), Duration::from_millis(2500)];

/// What is called and signed with: whose credentials, which region, which endpoints. Nothing is asked until the first
/// call.
#[derive(Debug)]
pub struct Aws {
    credentials: SharedCredentialsProvider,
    region: Region,
    endpoints: Endpoints,
    http: OnceLock<reqwest::Client>,
}

/// Which region is called.
#[derive(Debug)]
enum Region {
    Given(Option<String>),
    /// The machine's own, asked for when it is needed first.
    OfMachine {
        imds: Imds,
        known: OnceCell<String>,
    },
}

/// Why a call gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There are no credentials.
    #[error("there are no AWS credentials")]
    NoCredentials(#[source] CredentialsError),
    /// Credentials could not be had now.
    #[error("AWS credentials cannot be had at present")]
    Credentials(#[source] CredentialsError),
    /// Nobody said which region.
    #[error("no AWS region is known: set AWS_REGION")]
    NoRegion,
    /// Nobody said which region, and the machine does not either.
    #[error("no AWS region is known: set AWS_REGION, or is this no EC2 machine?")]
    Region(#[from] ImdsError),
    /// The service was not reached.
    #[error("{url} cannot be reached")]
    Unreachable {
        /// Where.
        url: String,
        /// What happened.
        #[source]
        source: reqwest::Error,
    },
    /// The service said no, with its own code, such as `ParameterNotFound`.
    #[error("{code}: {message}")]
    Refused {
        /// Its code.
        code: String,
        /// Its words.
        message: String,
        /// Whether the same call may go well later.
        passing: bool,
    },
    /// The service's answer is not what its documentation says.
    #[error("the answer of {service} cannot be understood")]
    Garbled {
        /// Whose.
        service: &'static str,
    },
    /// The request could not be signed.
    #[error("the call could not be signed")]
    Unsigned(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The client could not be made.
    #[error("no HTTP client: are there CA certificates on this machine?")]
    Client(#[source] reqwest::Error),
}

impl CallError {
    /// The service's own code, if it answered.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused { code, .. } => Some(code),
            Self::NoCredentials(_)
            | Self::Credentials(_)
            | Self::NoRegion
            | Self::Region(_)
            | Self::Unreachable { .. }
            | Self::Garbled { .. }
            | Self::Unsigned(_)
            | Self::Client(_) => None,
        }
    }

    /// Whether the same call may go well later without anybody doing anything.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::Unreachable { .. } | Self::Garbled { .. } => true,
            Self::Refused { passing, .. } => *passing,
            Self::NoCredentials(_)
            | Self::NoRegion
            | Self::Region(_)
            | Self::Unsigned(_)
            | Self::Client(_) => false,
        }
    }
}

/// How many pages may be empty: a filter is applied after a page was read.
const PAGES: usize = 50;

impl Aws {
    /// Calls with these credentials in this region.
    pub fn new(credentials: SharedCredentialsProvider, region: Option<String>, endpoints: Endpoints) -> Self {
        Self { credentials, region: Region::Given(region), endpoints, http: OnceLock::new() }
    }

    /// Calls as this machine: its environment's or its role's credentials; the region of `AWS_REGION` or
    /// `AWS_DEFAULT_REGION`, else the machine's own.
    pub fn of_machine(imds: Option<Imds>) -> Self {
        let said = of_process("AWS_REGION").or_else(|| of_process("AWS_DEFAULT_REGION"));
        let region = match (said, imds.clone()) {
            (None, Some(imds)) => Region::OfMachine { imds, known: OnceCell::new() },
            (said, _) => Region::Given(said),
        };
        let credentials = SharedCredentialsProvider::new(MachineCredentials::new(imds));
        Self { credentials, region, endpoints: Endpoints::from_env(), http: OnceLock::new() }
    }

    async fn region(&self) -> Result<&str, CallError> {
        match &self.region {
            Region::Given(region) => region.as_deref().ok_or(CallError::NoRegion),
            Region::OfMachine { imds, known } => {
                let ask = || async { imds.region().await?.ok_or(CallError::NoRegion) };
                known.get_or_try_init(ask).await.map(String::as_str)
            }
        }
    }

    /// The value of a parameter of Systems Manager, decrypted if it is encrypted.
    pub async fn parameter(&self, name: &str) -> Result<String, CallError> {
        let body = json!({"Name": name, "WithDecryption": true});
        let answer = self.call(Service::Ssm, "GetParameter", &body, region_of_arn(name)).await?;
        let value = answer.pointer("/Parameter/Value").and_then(Value::as_str);
        value.map(ToOwned::to_owned).ok_or(CallError::Garbled { service: Service::Ssm.name() })
    }

    /// The text of a secret of Secrets Manager. `None`: it is one of bytes.
    pub async fn secret(&self, id: &str) -> Result<Option<String>, CallError> {
        let body = json!({"SecretId": id});
        let answer = self.call(Service::SecretsManager, "GetSecretValue", &body, region_of_arn(id)).await?;
        Ok(answer.get("SecretString").and_then(Value::as_str).map(ToOwned::to_owned))
    }

    /// Whether there is a parameter of this name. Its value is not read.
    pub async fn has_parameter(&self, name: &str) -> Result<bool, CallError> {
        let mut body = json!({"ParameterFilters": [{"Key": "Name", "Option": "Equals", "Values": [name]}]});
        for _ in 0..PAGES {
            let answer = self.call(Service::Ssm, "DescribeParameters", &body, None).await?;
            if answer.get("Parameters").and_then(Value::as_array).is_some_and(|found| !found.is_empty()) {
                return Ok(true);
            }
            match answer.get("NextToken").and_then(Value::as_str) {
                Some(next) => body["NextToken"] = next.into(),
                None => return Ok(false),
            }
        }
        Err(CallError::Garbled { service: Service::Ssm.name() })
    }

    /// Whether there is a secret of this name or ARN that is not being deleted. Its value is not read.
    pub async fn has_secret(&self, id: &str) -> Result<bool, CallError> {
        let body = json!({"SecretId": id});
        match self.call(Service::SecretsManager, "DescribeSecret", &body, region_of_arn(id)).await {
            Ok(answer) => Ok(answer.get("DeletedDate").is_none_or(Value::is_null)),
            Err(error) if error.code() == Some("ResourceNotFoundException") => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// The limit of this account in this region by its code, in its own unit, such as vCPUs.
    pub async fn quota(&self, service: &str, code: &str) -> Result<f64, CallError> {
        let body = json!({"ServiceCode": service, "QuotaCode": code});
        let answer = self.call(Service::Quotas, "GetServiceQuota", &body, None).await?;
        let value = answer.pointer("/Quota/Value").and_then(Value::as_f64);
        value.ok_or(CallError::Garbled { service: Service::Quotas.name() })
    }

    async fn call(
        &self,
        service: Service,
        operation: &str,
        body: &Value,
        region: Option<&str>,
    ) -> Result<Value, CallError> {
        let region = match region {
            Some(region) => region,
            None => self.region().await?,
        };
        let call = Call {
            url: self.endpoints.url(service, region),
            service,
            target: format!("{}.{operation}", service.target()),
            region,
            body: body.to_string(),
        };
        let mut pauses = PAUSES.into_iter();
        loop {
            match self.once(&call).await {
                Err(error) if error.is_passing() => match pauses.next() {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => return Err(error),
                },
                answer => return answer,
            }
        }
    }

    async fn once(&self, call: &Call<'_>) -> Result<Value, CallError> {
        let credentials = self.credentials.provide_credentials().await.map_err(no_credentials)?;
        let request = call.signed(&credentials, SystemTime::now())?;
        let unreachable = |source: reqwest::Error| CallError::Unreachable {
            url: call.url.clone(),
            source: source.without_url(),
        };
        let request = reqwest::Request::try_from(request).map_err(unreachable)?;
        let answer = self.http(&call.url)?.execute(request).await.map_err(unreachable)?;
        let status = answer.status();
        let bytes = answer.bytes().await.map_err(unreachable)?;
        let said: Option<Value> = serde_json::from_slice(&bytes).ok();
        match said {
            Some(said) if status.is_success() => Ok(said),
            Some(said) => Err(refusal(status, &said)),
            None if status.is_success() => Err(CallError::Garbled { service: call.service.name() }),
            None => Err(refusal(status, &Value::Null)),
        }
    }

    fn http(&self, url: &str) -> Result<&reqwest::Client, CallError> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let mut builder = reqwest::Client::builder()
            .connect_timeout(CONNECT)
            .timeout(ANSWER)
            .redirect(reqwest::redirect::Policy::none());
        if url.starts_with("http://") {
            // A mock on a machine without certificates.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(CallError::Client)?;
        Ok(self.http.get_or_init(|| http))
    }
}

struct Call<'a> {
    url: String,
    service: Service,
    target: String,
    region: &'a str,
    body: String,
}

impl Call<'_> {
    fn signed(&self, credentials: &Credentials, at: SystemTime) -> Result<http::Request<Vec<u8>>, CallError> {
        let unsigned = |source: Box<dyn std::error::Error + Send + Sync>| CallError::Unsigned(source);
        let mut request = http::Request::post(&self.url)
            .header("content-type", "application/x-amz-json-1.1")
            .header("x-amz-target", &self.target)
            .body(self.body.clone().into_bytes())
            .map_err(|error| unsigned(error.into()))?;
        let identity = Identity::from(credentials.clone());
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service.name())
            .time(at)
            .settings(SigningSettings::default())
            .build()
            .map_err(|error| unsigned(error.into()))?
            .into();
        let headers =
            [("content-type", "application/x-amz-json-1.1"), ("x-amz-target", self.target.as_str())];
        let body = SignableBody::Bytes(self.body.as_bytes());
        let signable = SignableRequest::new("POST", &self.url, headers.into_iter(), body)
            .map_err(|error| unsigned(error.into()))?;
        let (instructions, _) = sign(signable, &params).map_err(|error| unsigned(error.into()))?.into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Ok(request)
    }
}

fn no_credentials(error: CredentialsError) -> CallError {
    if matches!(error, CredentialsError::CredentialsNotLoaded(_)) {
        CallError::NoCredentials(error)
    } else {
        CallError::Credentials(error)
    }
}

/// What a service says when it says no: the code may bear the protocol's namespace before it.
fn refusal(status: StatusCode, said: &Value) -> CallError {
    let text = |names: [&str; 2]| names.iter().find_map(|name| said.get(name).and_then(Value::as_str));
    let code = text(["__type", "code"]).map(|code| code.rsplit('#').next().unwrap_or(code).to_owned());
    let code = code.unwrap_or_else(|| status.as_u16().to_string());
    let throttled = ["ThrottlingException", "Throttling", "TooManyRequestsException", "RequestLimitExceeded"];
    let passing = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || throttled.contains(&code.as_str())
        || code == "ExpiredTokenException";
    let message = text(["message", "Message"]).unwrap_or("no reason given").to_owned();
    CallError::Refused { code, message, passing }
}

/// An ARN names the region where its thing is.
fn region_of_arn(name: &str) -> Option<&str> {
    let arn = name.strip_prefix("arn:")?;
    arn.split(':').nth(2).filter(|region| !region.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_is_asked_for_where_it_is() {
        assert_eq!(region_of_arn("arn:aws:secretsmanager:us-east-2:1:secret:x"), Some("us-east-2"));
        assert_eq!(region_of_arn("/prod/api-key"), None);
        assert_eq!(region_of_arn("arn:aws:s3:::bucket"), None);
    }

    #[test]
    fn a_code_loses_its_namespace_and_says_whether_waiting_helps() {
        let code = |status, body: Value| {
            let error = refusal(status, &body);
            (error.code().unwrap_or_default().to_owned(), error.is_passing())
        };
        let denied = json!({"__type": "com.amazon.coral.service#AccessDeniedException", "Message": "no"});
        assert_eq!(code(StatusCode::BAD_REQUEST, denied), ("AccessDeniedException".to_owned(), false));
        let throttled = json!({"__type": "ThrottlingException", "message": "Rate exceeded"});
        assert_eq!(code(StatusCode::BAD_REQUEST, throttled), ("ThrottlingException".to_owned(), true));
        assert_eq!(code(StatusCode::BAD_GATEWAY, Value::Null), ("502".to_owned(), true));
    }
}
