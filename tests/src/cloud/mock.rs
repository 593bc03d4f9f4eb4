//! The mock of AWS as a process, and its control API. What it can do stands in `tests/cloud/server.py`.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::endpoint::{Answered, Endpoint};
use super::{Skipped, python};
use crate::{PATIENCE, until};

/// The region of all tests.
pub const REGION: &str = "eu-west-1";

/// A mock of AWS without machines: instances run and end by time alone. It ends when it is dropped, and when the
/// test's process ends.
#[derive(Debug)]
pub struct Mock {
    child: Child,
    aws: Endpoint,
    control: Control,
    subnets: BTreeMap<String, String>,
    security_group: String,
}

/// An instance as the mock knows it, visible or not.
#[derive(Debug, Clone, Deserialize)]
pub struct Instance {
    /// Its id.
    pub id: String,
    /// As EC2 names it: `pending`, `running`, `shutting-down`, `terminated`.
    pub state: String,
    /// The code of its StateReason, empty as long as it runs.
    pub reason: String,
    /// Its type.
    pub instance_type: String,
    /// Its zone.
    pub zone: String,
    /// `on-demand` or `spot`.
    pub market: String,
    /// Its image.
    pub image: String,
    /// The instance that its image was made of, if it was made here.
    pub image_of: Option<String>,
    /// The token that it was launched with.
    pub client_token: String,
    /// What powering off does: `stop` or `terminate`.
    pub shutdown_behavior: String,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
    /// Its user-data, in base64.
    pub user_data: String,
}

/// A call that somebody made.
#[derive(Debug, Clone, Deserialize)]
pub struct Call {
    /// Its action, such as `RunInstances`; method and path for S3.
    pub action: String,
    /// Its parameters.
    pub parameters: BTreeMap<String, String>,
    /// When it came, in seconds since 1970.
    pub at: f64,
    /// The access key that it was signed with.
    pub access_key: Option<String>,
    /// The HTTP status of its answer; `None` while there is none.
    pub status: Option<u16>,
    /// Whether it was carried out although its answer goes wrong, or is held.
    pub executed: bool,
}

/// What goes wrong with a call.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Fault {
    /// The action, such as `RunInstances`.
    pub action: String,
    /// Only calls with these parameters, such as `InstanceType`.
    #[serde(rename = "match")]
    pub parameters: BTreeMap<String, String>,
    /// How many calls.
    pub times: u32,
    /// Seconds that the call waits first.
    pub delay: f64,
    /// Whether it is carried out before its answer goes wrong.
    pub execute: bool,
    /// Seconds that the answer is held once the call is carried out.
    pub hold: f64,
    /// Whether the connection breaks instead of an answer.
    pub drop: bool,
    /// The error that is answered; `None`: the real answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Its HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
}

impl Fault {
    /// The next call of `action` is answered by this error.
    pub fn error(action: &str, code: &str) -> Self {
        Self { action: action.into(), times: 1, code: Some(code.into()), ..Self::default() }
    }

    /// The next call of `action` is carried out, and its answer is lost.
    pub fn lost_reply(action: &str) -> Self {
        Self { action: action.into(), times: 1, execute: true, drop: true, ..Self::default() }
    }

    /// Only calls with this parameter.
    #[must_use]
    pub fn with(mut self, parameter: &str, value: &str) -> Self {
        self.parameters.insert(parameter.into(), value.into());
        self
    }

    /// So many calls.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }
}

impl Mock {
    /// One on loopback. What is needed for it is installed into the build folder.
    pub async fn start() -> Result<Self, Skipped> {
        Self::listening(Ipv4Addr::LOCALHOST, None).await
    }

    /// One that listens at `address`, and serves the wheels of `index` as a package index.
    pub(super) async fn listening(address: Ipv4Addr, index: Option<&Path>) -> Result<Self, Skipped> {
        let interpreter = python::interpreter()?;
        let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("cloud/server.py");
        let mut command = Command::new(interpreter);
        command.arg(server).arg(address.to_string()).arg("0").args(index);
        // Nothing of it is written beside the sources, and moto looks at images and types as EC2 does.
        command.env("PYTHONDONTWRITEBYTECODE", "1").env("MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION", "true");
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let said: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("the mock says {line:?}"));
        let port = u16::try_from(said["port"].as_u64().unwrap()).unwrap();
        let control = Control::new(SocketAddr::new(IpAddr::V4(address), port));
        let account = control.get(&format!("account/{REGION}")).await;
        let subnets = serde_json::from_value(account["subnets"].clone()).unwrap();
        let security_group = account["security_group"].as_str().unwrap().to_owned();
        let aws = Endpoint::at(control.endpoint.clone());
        Ok(Self { child, aws, control, subnets, security_group })
    }

    /// Its APIs of AWS.
    pub fn aws(&self) -> &Endpoint {
        &self.aws
    }

    /// What stands in `AWS_ENDPOINT_URL`.
    pub fn endpoint(&self) -> String {
        self.aws.url().to_owned()
    }

    /// The environment of a program that shall talk to it.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        self.aws.environment()
    }

    /// Subnets that are there, and the zone of each.
    pub fn subnets(&self) -> &BTreeMap<String, String> {
        &self.subnets
    }

    /// A security group that is there.
    pub fn security_group(&self) -> &str {
        &self.security_group
    }

    /// Makes an instance profile with a role of its own; its ARN.
    pub async fn instance_profile(&self, name: &str) -> String {
        let made = self.control.post(&format!("profiles/{name}"), &json!({})).await;
        made["arn"].as_str().unwrap().to_owned()
    }

    /// Makes a bucket.
    pub async fn bucket(&self, name: &str) {
        let request = self.control.http.put(format!("{}/{name}", self.control.endpoint));
        let request = request.header("Authorization", self.aws.authorization("s3"));
        let place = format!(
            "<CreateBucketConfiguration><LocationConstraint>{REGION}</LocationConstraint></CreateBucketConfiguration>"
        );
        request.body(place).send().await.unwrap().error_for_status().unwrap();
    }

    /// All instances that ever were.
    pub async fn instances(&self) -> Vec<Instance> {
        self.control.instances(None, Duration::ZERO).await.1
    }

    /// The instance of this id.
    pub async fn instance(&self, id: &str) -> Instance {
        self.instances().await.into_iter().find(|instance| instance.id == id).unwrap()
    }

    /// The instance as soon as it is in this state.
    pub async fn reaches(&self, id: &str, state: &str) -> Instance {
        until(&format!("instance {id} to be {state}"), async || {
            Some(self.instance(id).await).filter(|instance| instance.state == state)
        })
        .await
    }

    /// All calls so far, of everybody.
    pub async fn calls(&self) -> Vec<Call> {
        serde_json::from_value(self.control.get("calls").await).unwrap()
    }

    /// What was asked of the package index so far, by whoever has this address; paths.
    pub(super) async fn indexed(&self, address: Ipv4Addr) -> Vec<String> {
        let asked = self.control.get("index").await;
        let of_address = asked.as_array().unwrap().iter().filter(|it| it["address"] == address.to_string());
        of_address.map(|it| it["path"].as_str().unwrap().to_owned()).collect()
    }

    /// Has these faults from now on, and no others.
    pub async fn faults(&self, faults: &[Fault]) {
        self.control.post("faults", &json!(faults)).await;
    }

    /// How things go from now on: see `SETTINGS` in `tests/cloud/instances.py`, and `denied` actions.
    pub async fn settings(&self, settings: Value) {
        self.control.post("settings", &settings).await;
    }

    /// The cloud ends an instance by itself, with this code as its StateReason: `Server.SpotInstanceTermination`,
    /// `Server.InsufficientInstanceCapacity`, `Client.UserInitiatedShutdown` (a person).
    pub async fn end(&self, id: &str, code: &str) {
        self.control.post(&format!("machines/{id}/end"), &json!({ "code": code })).await;
    }

    /// The cloud does not show an instance any more, as EC2 about an hour after its end.
    pub async fn forget(&self, id: &str) {
        self.control.post(&format!("machines/{id}/forget"), &json!({})).await;
    }

    /// What an instance's metadata say at `path`, such as `meta-data/spot/instance-action`; `None`: nothing there.
    pub async fn metadata(&self, id: &str, path: &str, text: Option<&str>) {
        self.control.post(&format!("machines/{id}/metadata"), &json!({ path: text })).await;
    }

    /// A call of a service's query API, as a person with the installation's rights might make it.
    ///
    /// # Panics
    /// If nobody answers.
    pub async fn call(&self, service: &str, form: &[(&str, &str)]) -> Answered {
        self.aws.call(service, form).await
    }

    /// The same, where perhaps nobody answers.
    pub async fn try_call(&self, service: &str, form: &[(&str, &str)]) -> Result<Answered, reqwest::Error> {
        self.aws.try_call(service, form).await
    }

    pub(super) fn control(&self) -> &Control {
        &self.control
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The control API.
#[derive(Debug, Clone)]
pub(super) struct Control {
    http: reqwest::Client,
    endpoint: String,
}

impl Control {
    fn new(address: SocketAddr) -> Self {
        Self::at(format!("http://{address}"))
    }

    /// The mock answers within moments, or it hangs.
    fn at(endpoint: String) -> Self {
        let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().unwrap();
        Self { http, endpoint }
    }

    /// For another thread: a connection lives in the runtime that made it, and whoever shares it waits for that one's
    /// thread, which may wait for him.
    pub(super) fn of_its_own(&self) -> Self {
        Self::at(self.endpoint.clone())
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}/_cloud/{path}", self.endpoint)).send().await.unwrap();
        answer.error_for_status().unwrap().json().await.unwrap()
    }

    pub(super) async fn post(&self, path: &str, told: &Value) -> Value {
        let request = self.http.post(format!("{}/_cloud/{path}", self.endpoint)).json(told);
        let answer = request.send().await.unwrap();
        let (status, text) = (answer.status(), answer.text().await.unwrap());
        assert!(status.is_success(), "{path} {told}: {status} {text}");
        serde_json::from_str(&text).unwrap()
    }

    /// All instances, and the number of this news; as soon as there is something after `after`, or `wait` is over.
    pub(super) async fn instances(&self, after: Option<u64>, wait: Duration) -> (u64, Vec<Instance>) {
        let after = after.map_or(-1, u64::cast_signed);
        let found = self.get(&format!("machines?after={after}&wait={}", wait.as_secs_f64())).await;
        (found["version"].as_u64().unwrap(), serde_json::from_value(found["machines"].clone()).unwrap())
    }
}
