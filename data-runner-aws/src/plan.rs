//! The ways to get a machine, the best first.
//!
//! The order: spot before on demand, where spot will do; then the sizes as the workflow names them, the wanted one first,
//! because a fallback is for when the wanted one cannot be had, even if it is cheaper; then by price, which tells zones
//! apart for spot; then the subnets as they are configured.

use std::collections::BTreeMap;
use std::sync::Arc;

use data_runner_core::cost::Market;
use data_runner_core::port::{ProvisionError, WantedImage};
use data_runner_core::settings::CodeDelivery;
use data_runner_core::worker::{Candidate, MachineRequest};
use data_runner_core::workflow::{Architecture, InstanceSize, Spot};
use tokio::sync::Mutex;

use crate::call::{AwsAccount, CallError, in_words};
use crate::images::{ImageError, Images, MachineImage};
use crate::options::{AgentBinary, Ec2Options};
use crate::pinned::PinnedRequest;
use crate::prices::{PriceList, Priced, Prices};
use crate::{bake, tags};

/// What EC2's root volumes can be, in bytes a GiB.
const GIB: u64 = 1 << 30;

/// Plans: asks what it must know, decides purely, and starts nothing.
pub(crate) struct Planner {
    account: AwsAccount,
    options: Arc<Ec2Options>,
    images: Images,
    prices: Prices,
    /// The zone of each subnet that was asked for once.
    zones: Mutex<BTreeMap<String, String>>,
}

/// A subnet and its availability zone.
struct Subnet {
    id: String,
    zone: String,
}

/// One way, before it is pinned.
struct Way<'a> {
    size: &'a InstanceSize,
    subnet: &'a Subnet,
    market: Market,
}

impl Planner {
    pub fn new(account: AwsAccount, options: Arc<Ec2Options>) -> Self {
        let (images, prices) = (Images::new(account.clone()), Prices::new(account.clone()));
        Self { account, options, images, prices, zones: Mutex::default() }
    }

    pub async fn plan(&self, request: MachineRequest) -> Result<Vec<Candidate>, ProvisionError> {
        self.plan_from(request, true).await
    }

    /// The same from the stock image, which others are baked of. What a workflow may ask for does not bind the operator.
    pub async fn stock_plan(&self, request: MachineRequest) -> Result<Vec<Candidate>, ProvisionError> {
        self.plan_from(request, false).await
    }

    async fn plan_from(
        &self,
        request: MachineRequest,
        of_workflow: bool,
    ) -> Result<Vec<Candidate>, ProvisionError> {
        let sizes = sizes(&request)?;
        if of_workflow {
            self.permit(&request)?;
        }
        let settings = &self.options.settings;
        let architecture = sizes[0].architecture();
        let agent = self.agent(architecture)?;
        let image = if of_workflow {
            self.image(&request, architecture, agent).await
        } else {
            self.images.stock(architecture).await
        };
        let image = image.map_err(no_image)?;
        let disk_gib = disk(&request, &image)?;
        let pinned = self.pinned(&request, &image, agent, disk_gib)?;
        let subnets =
            if request.compute.subnets.is_empty() { &settings.subnets } else { &request.compute.subnets };
        let subnets = self.subnets(subnets).await?;
        let names: Vec<&str> = sizes.iter().map(InstanceSize::as_str).collect();
        let prices = self.prices.of(&names, request.compute.spot != Spot::Never).await;
        let priced = |way: &Way<'_>| prices.price(&way.priced(disk_gib.unwrap_or(0), settings.public_ip));
        let ways = in_order(&sizes, &subnets, markets(request.compute.spot), &prices);
        ways.iter()
            .map(|way| {
                let pinned = PinnedRequest { subnet: way.subnet.id.clone(), ..pinned.clone() };
                let request = serde_json::to_value(&pinned);
                Ok(Candidate {
                    label: way.label(),
                    instance_type: way.size.to_string(),
                    zone: Some(way.subnet.zone.clone()),
                    market: way.market,
                    price: priced(way),
                    request: request.map_err(|error| ProvisionError::Unavailable(error.into()))?,
                })
            })
            .collect()
    }

    fn pinned(
        &self,
        request: &MachineRequest,
        image: &MachineImage,
        agent: &AgentBinary,
        disk_gib: Option<u32>,
    ) -> Result<PinnedRequest, ProvisionError> {
        let (options, settings) = (&self.options, &self.options.settings);
        let index = options.python_index.as_ref();
        let deadline = request.deadline.ok_or_else(|| {
            rejected("a machine of EC2 needs a deadline at which it powers itself off", "set a timeout")
        })?;
        let along = settings.code_delivery == CodeDelivery::UserData;
        let profile = request.compute.instance_profile.as_ref().or(settings.instance_profile.as_ref());
        Ok(PinnedRequest {
            image: image.id.clone(),
            root_device: image.root_device.clone(),
            baked: image.baked,
            architecture: image.architecture,
            subnet: String::new(),
            security_groups: settings.security_groups.clone(),
            instance_profile: profile.cloned(),
            public_ip: settings.public_ip,
            disk_gib,
            tags: tags::chosen(&settings.tags, &request.tags),
            deadline,
            slots: request.slots,
            agent: agent.clone(),
            grpc_url: options.grpc_url.clone(),
            python_index_url: index.map(|index| index.url.clone()),
            python_index_auth: index.and_then(|index| index.auth.clone()),
            environment: options.environment.clone(),
            power_off: options.power_off.clone(),
            bundle: request.code.clone().filter(|_| along),
        })
    }

    fn agent(&self, architecture: Architecture) -> Result<&AgentBinary, ProvisionError> {
        self.options.agents.get(&architecture).ok_or_else(|| {
            rejected(
                format!("this installation has no agent for {architecture}"),
                "take a size of another architecture, or install the agent for this one beside the supervisor",
            )
        })
    }

    fn permit(&self, request: &MachineRequest) -> Result<(), ProvisionError> {
        self.options.settings.permits(request).map_err(|refused| {
            rejected(
                refused.to_string(),
                "ask the operator, or ask for what `ec2.allow` of supervisor.yaml permits",
            )
        })
    }

    /// The workflow's own image, else the installation's for the worker type, else a baked one, else the newest Amazon
    /// Linux 2023.
    async fn image(
        &self,
        request: &MachineRequest,
        architecture: Architecture,
        agent: &AgentBinary,
    ) -> Result<MachineImage, ImageError> {
        let worker_type = request.worker_type.as_ref();
        let of_type = worker_type.and_then(|of_type| self.options.settings.images.get(of_type));
        if let Some(id) = request.compute.image.as_ref().or(of_type) {
            return self.images.named(id, architecture).await;
        }
        let stock = self.images.stock(architecture).await?;
        let Some(worker_type) = worker_type.cloned() else {
            return Ok(stock);
        };
        let wanted = WantedImage { worker_type, architecture };
        let content = bake::content_of(&stock.id, &agent.sha256, &wanted);
        let baked = self.images.baked(&self.options.installation, content.as_str()).await?;
        Ok(baked.unwrap_or(stock))
    }

    async fn subnets(&self, wanted: &[String]) -> Result<Vec<Subnet>, ProvisionError> {
        let mut zones = self.zones.lock().await;
        let unknown: Vec<_> = wanted.iter().filter(|id| !zones.contains_key(*id)).cloned().collect();
        if !unknown.is_empty() {
            zones.extend(self.describe_subnets(unknown).await?);
        }
        wanted
            .iter()
            .map(|id| {
                let zone =
                    zones.get(id).cloned().ok_or_else(|| no_subnet(format!("there is no subnet {id}")))?;
                Ok(Subnet { id: id.clone(), zone })
            })
            .collect()
    }

    async fn describe_subnets(&self, ids: Vec<String>) -> Result<BTreeMap<String, String>, ProvisionError> {
        self.account.throttle.describe.take().await;
        let asked = self.account.ec2.describe_subnets().set_subnet_ids(Some(ids)).send().await;
        let shown = asked.map_err(|error| CallError::of("DescribeSubnets", error)).map_err(|error| {
            if error.is("InvalidSubnetID") || error.is("InvalidSubnetId") {
                no_subnet(in_words(&error))
            } else {
                error.into()
            }
        })?;
        let zone = |subnet: &aws_sdk_ec2::types::Subnet| {
            Some((subnet.subnet_id()?.to_owned(), subnet.availability_zone()?.to_owned()))
        };
        Ok(shown.subnets().iter().filter_map(zone).collect())
    }
}

impl Way<'_> {
    fn label(&self) -> String {
        format!("{} in {}, {}", self.size, self.subnet.zone, self.market.as_str())
    }

    fn priced(&self, disk_gib: u32, public_ip: bool) -> Priced<'_> {
        let (instance_type, zone) = (self.size.as_str(), self.subnet.zone.as_str());
        Priced { instance_type, zone, market: self.market, disk_gib, public_ip }
    }
}

/// Every way, the best first; see the top of this file.
fn in_order<'a>(
    sizes: &'a [InstanceSize],
    subnets: &'a [Subnet],
    markets: &[Market],
    prices: &PriceList,
) -> Vec<Way<'a>> {
    let mut ways = Vec::new();
    for market in markets {
        for size in sizes {
            let mut of_size: Vec<_> =
                subnets.iter().map(|subnet| Way { size, subnet, market: *market }).collect();
            // What has no known price comes after what has one; the order of equals stays.
            of_size.sort_by_key(|way| {
                prices.price(&way.priced(0, false)).map_or(u64::MAX, |price| price.instance)
            });
            ways.extend(of_size);
        }
    }
    ways
}

const fn markets(spot: Spot) -> &'static [Market] {
    match spot {
        Spot::Never => &[Market::OnDemand],
        Spot::Prefer => &[Market::Spot, Market::OnDemand],
        Spot::Only => &[Market::Spot],
    }
}

/// The wanted size and those that will do, each once; never empty.
fn sizes(request: &MachineRequest) -> Result<Vec<InstanceSize>, ProvisionError> {
    let wanted: InstanceSize =
        request.instance_size.parse().map_err(|error: data_runner_core::workflow::UnknownSize| {
            rejected(error.to_string(), "correct `instance_size` of config.yaml")
        })?;
    let mut sizes = vec![wanted];
    for size in &request.compute.fallback_instance_sizes {
        if size.architecture() != sizes[0].architecture() {
            return Err(rejected(
                format!("{size} has another architecture than {}", sizes[0]),
                "name fallback sizes of the same architecture",
            ));
        }
        if !sizes.contains(size) {
            sizes.push(size.clone());
        }
    }
    Ok(sizes)
}

/// The root volume in GiB, rounded up; `None` when nobody says how large it is to be.
fn disk(request: &MachineRequest, image: &MachineImage) -> Result<Option<u32>, ProvisionError> {
    let Some(bytes) = request.compute.disk_bytes else {
        return Ok(Some(image.root_gib).filter(|gib| *gib > 0));
    };
    let gib = u32::try_from(bytes.div_ceil(GIB)).unwrap_or(u32::MAX);
    if gib < image.root_gib {
        return Err(rejected(
            format!(
                "a disk of {gib} GiB is smaller than the {} GiB of the image {}",
                image.root_gib, image.id
            ),
            "ask for a larger `disk`, or for none",
        ));
    }
    Ok(Some(gib))
}

fn no_image(error: ImageError) -> ProvisionError {
    match error {
        ImageError::Missing(_) | ImageError::OtherArchitecture { .. } => {
            rejected(in_words(&error), "correct `image` of the workflow or `images` of the installation")
        }
        ImageError::Newest(_) | ImageError::Call(_) => ProvisionError::Unavailable(error.into()),
    }
}

fn rejected(message: impl Into<String>, hint: impl Into<String>) -> ProvisionError {
    ProvisionError::Rejected { message: message.into(), hint: Some(hint.into()) }
}

fn no_subnet(message: String) -> ProvisionError {
    rejected(message, "correct `subnets` of the workflow or the installation")
}
