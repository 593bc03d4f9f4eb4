//! Whatever answers as AWS does.

use reqwest::Url;
use serde_json::Value;

use super::REGION;

/// An endpoint that imitates AWS. It is asked without a signature.
#[derive(Debug, Clone)]
pub struct Endpoint {
    http: reqwest::Client,
    url: String,
    region: String,
}

/// The answer to a call.
#[derive(Debug)]
pub struct Answered {
    status: u16,
    text: String,
}

impl Answered {
    /// Its XML, where it is no error.
    pub fn good(self) -> String {
        assert_eq!(self.status, 200, "{}", self.text);
        self.text
    }

    /// Its status and the code of its error.
    pub fn error(self) -> (u16, String) {
        let code = elements(&self.text, "Code").into_iter().next();
        (self.status, code.unwrap_or_else(|| panic!("no error: {}", self.text)))
    }
}

/// The text of each element of this name.
pub fn elements(xml: &str, name: &str) -> Vec<String> {
    let start = format!("<{name}>");
    xml.split(&start).skip(1).filter_map(|rest| rest.split('<').next()).map(str::to_owned).collect()
}

impl Endpoint {
    /// The one that `AWS_ENDPOINT_URL` names, in the region that `AWS_REGION` names.
    pub fn of_environment() -> Option<Self> {
        let url = std::env::var("AWS_ENDPOINT_URL").ok().filter(|url| !url.is_empty())?;
        let region = std::env::var("AWS_REGION").unwrap_or_else(|_| REGION.to_owned());
        Some(Self { http: reqwest::Client::new(), url, region })
    }

    pub(super) fn at(url: String) -> Self {
        Self { http: reqwest::Client::new(), url, region: REGION.to_owned() }
    }

    /// What stands in `AWS_ENDPOINT_URL`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Its region.
    pub fn region(&self) -> &str {
        &self.region
    }

    /// The environment of a program that shall talk to it.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL", self.url.clone()),
            ("AWS_REGION", self.region.clone()),
            ("AWS_ACCESS_KEY_ID", "AKIATEST".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "a secret".to_owned()),
            ("AWS_EC2_METADATA_DISABLED", "true".to_owned()),
        ]
    }

    /// A call of a service's query API, as a person with the installation's rights might make it.
    ///
    /// # Panics
    /// If nobody answers.
    pub async fn call(&self, service: &str, form: &[(&str, &str)]) -> Answered {
        self.try_call(service, form).await.unwrap()
    }

    /// The same, where perhaps nobody answers.
    pub async fn try_call(&self, service: &str, form: &[(&str, &str)]) -> Result<Answered, reqwest::Error> {
        let mut encoded = Url::parse(&self.url).unwrap();
        encoded.query_pairs_mut().extend_pairs(form);
        let request = self.http.post(&self.url).header("Authorization", self.authorization(service));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let answer = request.body(encoded.query().unwrap().to_owned()).send().await?;
        Ok(Answered { status: answer.status().as_u16(), text: answer.text().await? })
    }

    /// A call of a service's JSON API, such as `AmazonSSM.PutParameter` of `ssm`; its answer.
    ///
    /// # Panics
    /// If it is refused.
    pub async fn tell(&self, service: &str, target: &str, told: &Value) -> Value {
        let request = self.http.post(&self.url).header("Authorization", self.authorization(service));
        let request =
            request.header("X-Amz-Target", target).header("Content-Type", "application/x-amz-json-1.1");
        let answer = request.body(told.to_string()).send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{target}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// Says who asks which service, and proves nothing.
    pub(super) fn authorization(&self, service: &str) -> String {
        let scope = format!("Credential=AKIATEST/20200101/{}/{service}/aws4_request", self.region);
        format!("AWS4-HMAC-SHA256 {scope}, SignedHeaders=host, Signature=none")
    }
}
