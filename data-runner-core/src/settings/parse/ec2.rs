//! The `ec2` block.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::aws_names::{AwsName, TagKind};
use crate::id::WorkerType;
use crate::settings::{CodeDelivery, Ec2Allow, Ec2Settings};
use crate::workflow::InstanceSize;
use crate::yaml::{Object, Placed, Report};

const DEFAULT_MACHINES: u32 = 20;
const JOIN_WITHIN: Duration = Duration::from_mins(5);

/// Builds the settings of EC2; `None` when what they cannot do without is missing or refused. Errors are in the report.
pub(super) fn ec2(given: Placed<Object>, report: &mut Report<'_>) -> Option<Ec2Settings> {
    let Placed { at, value: mut given } = given;
    let region = given.text("region").and_then(|name| AwsName::Region.read(name, report));
    let subnets = AwsName::Subnet.read_all(given.texts("subnets"), report);
    let security_groups = AwsName::SecurityGroup.read_all(given.texts("security_groups"), report);
    let images = images(given.text_map("images"), report);
    let profile = given.text("instance_profile");
    let code_delivery = match given.text("code_delivery").as_ref().map(|text| text.value.as_str()) {
        Some("s3") => CodeDelivery::S3,
        Some("user-data") => CodeDelivery::UserData,
        Some(_) | None => CodeDelivery::Grpc,
    };
    if code_delivery == CodeDelivery::S3 && given.place("bucket").is_none() {
        let message = "`ec2` lacks the key `bucket`, which `code_delivery: s3` needs";
        report.error(&at, "missing_key", message).help("write s3://bucket/prefix");
    }
    Some(Ec2Settings {
        public_ip: given.bool("public_ip").unwrap_or(false),
        images,
        instance_profile: profile.and_then(|name| AwsName::InstanceProfile.read(name, report)),
        max_machines: given.int("max_machines").and_then(|n| n.try_into().ok()).unwrap_or(DEFAULT_MACHINES),
        join_within: given.duration("join_within").unwrap_or(JOIN_WITHIN),
        tags: TagKind::Tag.read(given.text_map("tags"), report),
        allow: allow(given.object("allow"), report),
        code_delivery,
        bucket: given.text("bucket").and_then(|url| bucket(url, report)),
        region: region?,
        subnets: (!subnets.is_empty()).then_some(subnets)?,
        security_groups: (!security_groups.is_empty()).then_some(security_groups)?,
    })
}

fn images(
    given: Vec<(Placed<String>, Placed<String>)>,
    report: &mut Report<'_>,
) -> BTreeMap<WorkerType, String> {
    let mut images = BTreeMap::new();
    for (name, image) in given {
        let image = AwsName::Image.read(image, report);
        match name.value.parse::<WorkerType>() {
            Ok(worker_type) => images.extend(image.map(|image| (worker_type, image))),
            Err(error) => {
                let message = format!("`{}` cannot be a worker type", name.value.escape_debug());
                report.error(&name.at, "invalid_value", message).help(error.expected);
            }
        }
    }
    images
}

fn allow(mut given: Object, report: &mut Report<'_>) -> Ec2Allow {
    let mut instance_sizes = Vec::new();
    for pattern in given.texts("instance_sizes") {
        if Ec2Allow::matching(&pattern.value).next().is_some() {
            instance_sizes.push(pattern.value);
            continue;
        }
        let message = format!("there is no instance size that `{}` allows", pattern.value.escape_debug());
        let reported = report.error(&pattern.at, "unknown_instance_size", message);
        match InstanceSize::nearest(&pattern.value) {
            Some(nearest) => reported.did_you_mean(Some(nearest)),
            None => reported.help("write a name, or its beginning with a * after it: t3.*"),
        }
    }
    Ec2Allow {
        instance_sizes,
        instance_profiles: AwsName::InstanceProfile.read_all(given.texts("instance_profiles"), report),
        images: AwsName::Image.read_all(given.texts("images"), report),
        subnets: AwsName::Subnet.read_all(given.texts("subnets"), report),
    }
}

/// `s3://bucket` or `s3://bucket/prefix`, without a slash at its end.
fn bucket(given: Placed<String>, report: &mut Report<'_>) -> Option<String> {
    let url = given.value.trim_end_matches('/');
    let (bucket, prefix) = url
        .strip_prefix("s3://")
        .map(|rest| rest.split_once('/').map_or((rest, None), |(bucket, prefix)| (bucket, Some(prefix))))
        .unwrap_or_default();
    let edge = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let named = (3..=63).contains(&bucket.len())
        && edge(bucket.bytes().next())
        && edge(bucket.bytes().next_back())
        && bucket.bytes().all(|b| edge(Some(b)) || b == b'.' || b == b'-');
    // Only what needs no escape in a URL, so that nothing is signed otherwise than it is sent.
    let plain = |part: &str| {
        !part.is_empty()
            && part != "."
            && part != ".."
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    if named && prefix.is_none_or(|prefix| prefix.split('/').all(plain)) {
        return Some(url.to_owned());
    }
    let message = format!("`{}` is not a place in S3", given.value.escape_debug());
    report
        .error(&given.at, "invalid_value", message)
        .help("write s3://bucket or s3://bucket/prefix, with letters, digits and . - _ in the prefix");
    None
}
