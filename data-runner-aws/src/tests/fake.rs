//! An EC2 that lives in memory and can be told to misbehave.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::extract::{FromRequest as _, Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};

/// A running fake. It ends with the test's runtime.
pub struct Fake {
    url: String,
    world: Arc<Mutex<World>>,
}

/// How one call is answered instead of as it should be.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Refused, and nothing done.
    Refuse(u16, &'static str, String),
    /// Done, and the connection cut before the answer.
    LoseReply,
    /// Done, and never answered.
    Silence,
    /// Answered with this text and status.
    Say(u16, String),
}

#[derive(Debug, Clone)]
pub struct Call {
    pub action: String,
    pub body: String,
    pub parameters: BTreeMap<String, String>,
}

#[derive(Debug, Clone)]
pub struct FakeMachine {
    pub id: String,
    pub token: String,
    pub body: String,
    pub state: &'static str,
    pub reason: Option<(&'static str, &'static str)>,
    pub tags: BTreeMap<String, String>,
    pub launched: &'static str,
}

#[derive(Default)]
pub struct World {
    pub calls: Vec<Call>,
    pub machines: Vec<FakeMachine>,
    faults: BTreeMap<String, VecDeque<Fault>>,
    pub console: Option<String>,
    /// How many machines a page of a listing holds.
    pub page: usize,
    /// Spot prices: zone, type, price.
    pub spot: Vec<(&'static str, &'static str, &'static str)>,
    pub images: BTreeMap<&'static str, &'static str>,
    /// How many vCPUs the account may have, by the code of the limit.
    pub quotas: BTreeMap<&'static str, f64>,
    /// Images that were made of machines.
    pub made: Vec<FakeImage>,
    /// The state of the next ones, if they are not available at once.
    pub new_images: Option<&'static str>,
}

#[derive(Debug, Clone)]
pub struct FakeImage {
    pub id: String,
    pub name: String,
    pub state: &'static str,
    pub tags: BTreeMap<String, String>,
}

impl Fake {
    pub async fn start() -> Self {
        let images = BTreeMap::from([("ami-x86", "x86_64"), ("ami-arm", "arm64")]);
        let quotas = BTreeMap::from([("L-1216C47A", 640.0), ("L-34B43A08", 640.0)]);
        let world = Arc::new(Mutex::new(World { page: 1000, images, quotas, ..World::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&world));
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { url, world }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn world<T>(&self, look: impl FnOnce(&mut World) -> T) -> T {
        look(&mut self.world.lock().unwrap())
    }

    /// The next calls of that action go wrong like this, one after the other.
    pub fn fail(&self, action: &str, faults: impl IntoIterator<Item = Fault>) {
        self.world(|world| world.faults.entry(action.to_owned()).or_default().extend(faults));
    }

    pub fn calls(&self, action: &str) -> Vec<Call> {
        self.world(|world| world.calls.iter().filter(|call| call.action == action).cloned().collect())
    }

    pub fn machines(&self) -> Vec<FakeMachine> {
        self.world(|world| world.machines.clone())
    }

    /// A machine that somebody else started, or an earlier program.
    pub fn add(&self, id: &str, tags: &[(&str, &str)]) {
        let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let machine = FakeMachine {
            id: id.to_owned(),
            token: String::new(),
            body: String::new(),
            state: "running",
            reason: None,
            tags,
            launched: "2026-11-26T20:00:00.000Z",
        };
        self.world(|world| world.machines.push(machine));
    }

    /// Changes the one machine.
    pub fn change(&self, id: &str, change: impl FnOnce(&mut FakeMachine)) {
        self.world(|world| change(world.machines.iter_mut().find(|machine| machine.id == id).unwrap()));
    }
}

async fn answer(State(world): State<Arc<Mutex<World>>>, headers: HeaderMap, body: Bytes) -> Response {
    let text = String::from_utf8_lossy(&body).into_owned();
    let (action, parameters) = match headers.get("x-amz-target") {
        Some(target) => {
            let action = target.to_str().unwrap().rsplit('.').next().unwrap().to_owned();
            (action, BTreeMap::from([("json".to_owned(), text.clone())]))
        }
        None => {
            let parameters = form(&body).await;
            (parameters.get("Action").cloned().unwrap_or_default(), parameters)
        }
    };
    let (fault, done) = {
        let mut world = world.lock().unwrap();
        world.calls.push(Call { action: action.clone(), body: text.clone(), parameters: parameters.clone() });
        let fault = world.faults.get_mut(&action).and_then(VecDeque::pop_front);
        let done = match &fault {
            Some(Fault::Refuse(..) | Fault::Say(..)) => Ok(String::new()),
            Some(Fault::LoseReply | Fault::Silence) | None => world.act(&action, &parameters, &text),
        };
        (fault, done)
    };
    match fault {
        Some(Fault::Refuse(status, code, message)) => refusal(status, code, &message),
        Some(Fault::Say(status, text)) => (StatusCode::from_u16(status).unwrap(), text).into_response(),
        Some(Fault::LoseReply) => {
            let cut =
                futures::stream::iter([Err::<Bytes, _>(std::io::Error::other("the connection is cut"))]);
            Body::from_stream(cut).into_response()
        }
        Some(Fault::Silence) => std::future::pending().await,
        None => match done {
            Ok(text) => text.into_response(),
            Err((code, message)) => refusal(400, code, &message),
        },
    }
}

async fn form(body: &Bytes) -> BTreeMap<String, String> {
    let request = Request::builder()
        .method("POST")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body.clone()))
        .unwrap();
    let pairs = axum::Form::<Vec<(String, String)>>::from_request(request, &()).await;
    pairs.map(|form| form.0.into_iter().collect()).unwrap_or_default()
}

fn refusal(status: u16, code: &str, message: &str) -> Response {
    let text = format!(
        "<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>\
         <RequestID>r</RequestID></Response>"
    );
    (StatusCode::from_u16(status).unwrap(), text).into_response()
}

type Done = Result<String, (&'static str, String)>;

impl World {
    fn act(&mut self, action: &str, parameters: &BTreeMap<String, String>, body: &str) -> Done {
        if parameters.get("DryRun").is_some_and(|dry| dry == "true") {
            return Err(("DryRunOperation", "Request would have succeeded, but DryRun flag is set.".into()));
        }
        match action {
            "GetCallerIdentity" => Ok("<GetCallerIdentityResponse><GetCallerIdentityResult>\
                <Arn>arn:aws:sts::123456789012:assumed-role/runner/i-0</Arn></GetCallerIdentityResult>\
                </GetCallerIdentityResponse>"
                .into()),
            "DescribeSecurityGroups" => Ok(describe_security_groups(parameters)),
            "RunInstances" => self.run_instances(parameters, body),
            "TerminateInstances" => self.terminate_instances(parameters),
            "DescribeInstances" => Ok(self.describe_instances(parameters)),
            "DescribeSubnets" => describe_subnets(parameters),
            "DescribeImages" if parameters.contains_key("Owner.1") => {
                Ok(self.describe_own_images(parameters))
            }
            "DescribeImages" => self.describe_images(parameters),
            "CreateImage" => self.create_image(parameters),
            "DeregisterImage" => {
                self.made.retain(|image| image.id != parameters["ImageId"]);
                Ok("<DeregisterImageResponse><return>true</return></DeregisterImageResponse>".to_owned())
            }
            "DescribeSpotPriceHistory" => Ok(self.describe_spot_price_history(parameters)),
            "GetConsoleOutput" => Ok(format!(
                "<GetConsoleOutputResponse><output>{}</output></GetConsoleOutputResponse>",
                self.console.clone().unwrap_or_default()
            )),
            "GetParameter" => {
                let arm = parameters["json"].contains("arm64");
                let id = if arm { "ami-arm" } else { "ami-x86" };
                Ok(format!(r#"{{"Parameter":{{"Name":"p","Type":"String","Value":"{id}"}}}}"#))
            }
            "GetServiceQuota" => {
                let asked = self.quotas.iter().find(|(code, _)| parameters["json"].contains(*code));
                let (code, limit) = asked.unwrap();
                Ok(format!(r#"{{"Quota":{{"ServiceCode":"ec2","QuotaCode":"{code}","Value":{limit:?}}}}}"#))
            }
            _ => Err(("InvalidAction", format!("{action} is not faked"))),
        }
    }

    fn run_instances(&mut self, parameters: &BTreeMap<String, String>, body: &str) -> Done {
        let token = parameters["ClientToken"].clone();
        if let Some(known) = self.machines.iter().find(|machine| machine.token == token) {
            return match (known.body == body, known.state) {
                (false, _) => Err(("IdempotentParameterMismatch", "other parameters".into())),
                (true, "terminated") => Err(("IdempotentInstanceTerminated", "it ended".into())),
                (true, _) => Ok(reservation("RunInstancesResponse", &[known.xml()], None)),
            };
        }
        let tags = tags_of(parameters);
        let machine = FakeMachine {
            id: format!("i-{:017x}", self.machines.len() + 1),
            token,
            body: body.to_owned(),
            state: "pending",
            reason: None,
            tags,
            launched: "2026-11-26T20:30:00.000Z",
        };
        self.machines.push(machine.clone());
        Ok(reservation("RunInstancesResponse", &[machine.xml()], None))
    }

    fn terminate_instances(&mut self, parameters: &BTreeMap<String, String>) -> Done {
        let ids = list(parameters, "InstanceId");
        if let Some(unknown) = ids.iter().find(|id| !self.machines.iter().any(|machine| machine.id == **id)) {
            return Err((
                "InvalidInstanceID.NotFound",
                format!("The instance ID '{unknown}' does not exist"),
            ));
        }
        for machine in self.machines.iter_mut().filter(|machine| ids.contains(&machine.id)) {
            machine.state = "shutting-down";
        }
        Ok("<TerminateInstancesResponse/>".into())
    }

    fn describe_instances(&self, parameters: &BTreeMap<String, String>) -> String {
        if let Some(id) = parameters.get("InstanceId.1") {
            let shown: Vec<_> =
                self.machines.iter().filter(|machine| machine.id == *id).map(FakeMachine::xml).collect();
            return reservation("DescribeInstancesResponse", &shown, None);
        }
        let fits = |machine: &&FakeMachine| fits(parameters, machine.state, &machine.tags);
        let matching: Vec<_> = self.machines.iter().filter(fits).map(FakeMachine::xml).collect();
        let from: usize = parameters.get("NextToken").map_or(0, |token| token.parse().unwrap());
        let to = matching.len().min(from + self.page);
        let next = (to < matching.len()).then(|| to.to_string());
        reservation("DescribeInstancesResponse", &matching[from..to], next)
    }

    fn describe_images(&self, parameters: &BTreeMap<String, String>) -> Done {
        let mut items = String::new();
        for id in list(parameters, "ImageId") {
            let made = self.made.iter().find(|image| image.id == id);
            let state = made.map_or("available", |image| image.state);
            let Some(architecture) = self.images.get(id.as_str()).or(made.map(|_| &"x86_64")) else {
                return Err(("InvalidAMIID.NotFound", format!("The image id '[{id}]' does not exist")));
            };
            let _ = write!(
                items,
                "<item><imageId>{id}</imageId><imageState>{state}</imageState><architecture>{architecture}</architecture>\
                 <rootDeviceName>/dev/xvda</rootDeviceName><blockDeviceMapping><item><deviceName>/dev/xvda</deviceName>\
                 <ebs><volumeSize>8</volumeSize></ebs></item></blockDeviceMapping></item>"
            );
        }
        Ok(format!("<DescribeImagesResponse><imagesSet>{items}</imagesSet></DescribeImagesResponse>"))
    }

    fn create_image(&mut self, parameters: &BTreeMap<String, String>) -> Done {
        let (id, name) = (format!("ami-made-{}", self.made.len() + 1), parameters["Name"].clone());
        if self.made.iter().any(|image| image.name == name) {
            return Err(("InvalidAMIName.Duplicate", format!("AMI name {name} is already in use")));
        }
        let state = self.new_images.unwrap_or("available");
        self.made.push(FakeImage { id: id.clone(), name, state, tags: tags_of(parameters) });
        Ok(format!("<CreateImageResponse><imageId>{id}</imageId></CreateImageResponse>"))
    }

    fn describe_own_images(&self, parameters: &BTreeMap<String, String>) -> String {
        let mut items = String::new();
        for image in self.made.iter().filter(|image| fits(parameters, image.state, &image.tags)) {
            let FakeImage { id, state, tags, .. } = image;
            let _ = write!(
                items,
                "<item><imageId>{id}</imageId><imageState>{state}</imageState><architecture>x86_64</architecture>\
                 <rootDeviceName>/dev/xvda</rootDeviceName><creationDate>2026-11-26T21:00:00.000Z</creationDate>\
                 <tagSet>{}</tagSet></item>",
                tags_xml(tags)
            );
        }
        format!("<DescribeImagesResponse><imagesSet>{items}</imagesSet></DescribeImagesResponse>")
    }

    fn describe_spot_price_history(&self, parameters: &BTreeMap<String, String>) -> String {
        let mut items = String::new();
        for (zone, _, price) in self.spot.iter().filter(|spot| spot.1 == parameters["InstanceType.1"]) {
            let _ = write!(
                items,
                "<item><availabilityZone>{zone}</availabilityZone><spotPrice>{price}</spotPrice>\
                 <timestamp>2026-11-26T20:00:00.000Z</timestamp></item>"
            );
        }
        format!(
            "<DescribeSpotPriceHistoryResponse><spotPriceHistorySet>{items}</spotPriceHistorySet>\
             </DescribeSpotPriceHistoryResponse>"
        )
    }
}

fn describe_subnets(parameters: &BTreeMap<String, String>) -> Done {
    let mut items = String::new();
    for id in list(parameters, "SubnetId") {
        let Some(zone) = id.strip_prefix("subnet-").filter(|zone| zone.len() == 1) else {
            return Err(("InvalidSubnetID.NotFound", format!("The subnet ID '{id}' does not exist")));
        };
        let _ = write!(
            items,
            "<item><subnetId>{id}</subnetId><availabilityZone>us-east-1{zone}</availabilityZone>\
             <vpcId>vpc-1</vpcId><availableIpAddressCount>200</availableIpAddressCount></item>"
        );
    }
    Ok(format!("<DescribeSubnetsResponse><subnetSet>{items}</subnetSet></DescribeSubnetsResponse>"))
}

fn describe_security_groups(parameters: &BTreeMap<String, String>) -> String {
    let mut items = String::new();
    for id in list(parameters, "GroupId") {
        let vpc = if id == "sg-elsewhere" { "vpc-2" } else { "vpc-1" };
        let _ = write!(items, "<item><groupId>{id}</groupId><vpcId>{vpc}</vpcId></item>");
    }
    format!(
        "<DescribeSecurityGroupsResponse><securityGroupInfo>{items}</securityGroupInfo>\
         </DescribeSecurityGroupsResponse>"
    )
}

impl FakeMachine {
    fn xml(&self) -> String {
        let tags = tags_xml(&self.tags);
        let reason = self.reason.map_or_else(String::new, |(code, message)| {
            format!("<stateReason><code>{code}</code><message>{message}</message></stateReason>")
        });
        format!(
            "<item><instanceId>{}</instanceId><instanceState><code>0</code><name>{}</name></instanceState>\
             <launchTime>{}</launchTime>{reason}<tagSet>{tags}</tagSet></item>",
            self.id, self.state, self.launched
        )
    }
}

/// Whether something in that state and with these tags is what all filters of a call let through.
fn fits(parameters: &BTreeMap<String, String>, state: &str, tags: &BTreeMap<String, String>) -> bool {
    (1..).map_while(|n| parameters.get(&format!("Filter.{n}.Name")).map(|name| (n, name))).all(|(n, name)| {
        let values = list(parameters, &format!("Filter.{n}.Value"));
        match (name.as_str(), name.strip_prefix("tag:")) {
            (_, Some(key)) => tags.get(key).is_some_and(|value| values.contains(value)),
            ("tag-key", None) => values.iter().any(|key| tags.contains_key(key)),
            ("state" | "instance-state-name", None) => values.iter().any(|value| value == state),
            (other, None) => panic!("the filter {other} is not faked"),
        }
    })
}

fn tags_xml(tags: &BTreeMap<String, String>) -> String {
    tags.iter().fold(String::new(), |mut xml, (key, value)| {
        let _ = write!(xml, "<item><key>{key}</key><value>{value}</value></item>");
        xml
    })
}

/// The tags of the first thing that is to be made.
fn tags_of(parameters: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let part = |n: u32, what: &str| parameters.get(&format!("TagSpecification.1.Tag.{n}.{what}"));
    (1..).map_while(|n| Some((part(n, "Key")?.clone(), part(n, "Value")?.clone()))).collect()
}

fn reservation(response: &str, machines: &[String], next: Option<String>) -> String {
    let next = next.map_or_else(String::new, |next| format!("<nextToken>{next}</nextToken>"));
    let instances = format!("<instancesSet>{}</instancesSet>", machines.concat());
    if response == "RunInstancesResponse" {
        return format!("<{response}>{instances}</{response}>");
    }
    format!("<{response}><reservationSet><item>{instances}</item></reservationSet>{next}</{response}>")
}

/// `Name.1`, `Name.2` and so on.
fn list(parameters: &BTreeMap<String, String>, name: &str) -> Vec<String> {
    (1..).map_while(|n| parameters.get(&format!("{name}.{n}")).cloned()).collect()
}
