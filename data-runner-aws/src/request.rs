//! The request for a machine, made anew from what is pinned.

use aws_sdk_ec2::operation::run_instances::RunInstancesInput;
use aws_sdk_ec2::operation::run_instances::builders::RunInstancesInputBuilder;
use aws_sdk_ec2::types::{
    BlockDeviceMapping, EbsBlockDevice, HttpTokensState, IamInstanceProfileSpecification,
    InstanceInterruptionBehavior, InstanceMarketOptionsRequest, InstanceMetadataEndpointState,
    InstanceMetadataOptionsRequest, InstanceNetworkInterfaceSpecification, InstanceType, MarketType,
    ResourceType, ShutdownBehavior, SpotInstanceType, SpotMarketOptions, Tag, TagSpecification, VolumeType,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_runner_core::cost::Market;
use data_runner_core::worker::Candidate;

use crate::pinned::PinnedRequest;

/// What is asked of EC2: one machine, without a key pair, that is gone when it powers off.
pub(crate) fn run_instances(
    pinned: &PinnedRequest,
    candidate: &Candidate,
    tags: &[Tag],
    user_data: &[u8],
) -> RunInstancesInputBuilder {
    let profile = pinned
        .instance_profile
        .as_ref()
        .map(|name| IamInstanceProfileSpecification::builder().name(name).build());
    let market = match candidate.market {
        Market::OnDemand => None,
        Market::Spot => Some(spot()),
    };
    // Of both, since a volume that outlives its machine should say whose it was.
    let of = |kind| TagSpecification::builder().resource_type(kind).set_tags(Some(tags.to_vec())).build();
    RunInstancesInput::builder()
        .min_count(1)
        .max_count(1)
        .image_id(&pinned.image)
        .instance_type(InstanceType::from(candidate.instance_type.as_str()))
        .network_interfaces(network_interface(pinned))
        .set_iam_instance_profile(profile)
        .block_device_mappings(root_volume(pinned))
        .metadata_options(metadata())
        .instance_initiated_shutdown_behavior(ShutdownBehavior::Terminate)
        .set_instance_market_options(market)
        .tag_specifications(of(ResourceType::Instance))
        .tag_specifications(of(ResourceType::Volume))
        .user_data(STANDARD.encode(user_data))
}

/// Only an interface of its own can say that there is no public address, whatever the subnet's habit is.
fn network_interface(pinned: &PinnedRequest) -> InstanceNetworkInterfaceSpecification {
    InstanceNetworkInterfaceSpecification::builder()
        .device_index(0)
        .subnet_id(&pinned.subnet)
        .set_groups(Some(pinned.security_groups.clone()))
        .associate_public_ip_address(pinned.public_ip)
        .delete_on_termination(true)
        .build()
}

fn root_volume(pinned: &PinnedRequest) -> BlockDeviceMapping {
    let volume = EbsBlockDevice::builder()
        .volume_type(VolumeType::Gp3)
        .encrypted(true)
        .delete_on_termination(true)
        .set_volume_size(pinned.disk_gib.and_then(|gib| i32::try_from(gib).ok()))
        .build();
    BlockDeviceMapping::builder().device_name(&pinned.root_device).ebs(volume).build()
}

/// By tokens only, and from the machine itself only: no container or forwarded request reaches the role's credentials.
fn metadata() -> InstanceMetadataOptionsRequest {
    InstanceMetadataOptionsRequest::builder()
        .http_endpoint(InstanceMetadataEndpointState::Enabled)
        .http_tokens(HttpTokensState::Required)
        .http_put_response_hop_limit(1)
        .build()
}

fn spot() -> InstanceMarketOptionsRequest {
    let once = SpotMarketOptions::builder()
        .spot_instance_type(SpotInstanceType::OneTime)
        .instance_interruption_behavior(InstanceInterruptionBehavior::Terminate)
        .build();
    InstanceMarketOptionsRequest::builder().market_type(MarketType::Spot).spot_options(once).build()
}
