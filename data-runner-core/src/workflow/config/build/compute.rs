//! How a machine is chosen and made.

use super::known_size;
use crate::aws_names::AwsName;
use crate::workflow::{Compute, InstanceSize, OnOutOfMemory, Spot};
use crate::yaml::{Object, Placed, Report};

/// Reads the block; what is refused is missing in the answer.
pub(super) fn compute(mut given: Object, wanted: Option<&InstanceSize>, report: &mut Report<'_>) -> Compute {
    let spot = given.text("spot");
    let on_out_of_memory = on_out_of_memory(given.text("on_out_of_memory"), wanted, report);
    let mut one = |key, kind: AwsName, report: &mut Report<'_>| {
        given.text(key).and_then(|name| kind.read(name, report))
    };
    let region = one("region", AwsName::Region, report);
    let instance_profile = one("instance_profile", AwsName::InstanceProfile, report);
    let image = one("image", AwsName::Image, report);
    Compute {
        spot: spot
            .and_then(|name| Spot::ALL.into_iter().find(|spot| spot.as_str() == name.value))
            .unwrap_or_default(),
        fallback_instance_sizes: fallbacks(given.texts("fallback_instance_sizes"), wanted, report),
        disk_bytes: given.size("disk"),
        region,
        subnets: AwsName::Subnet.read_all(given.texts("subnets"), report),
        instance_profile,
        image,
        on_out_of_memory,
    }
}

fn on_out_of_memory(
    given: Option<Placed<String>>,
    wanted: Option<&InstanceSize>,
    report: &mut Report<'_>,
) -> OnOutOfMemory {
    let Some(given) = given else { return OnOutOfMemory::default() };
    let chosen = OnOutOfMemory::ALL.into_iter().find(|it| it.as_str() == given.value).unwrap_or_default();
    match (chosen, wanted) {
        (OnOutOfMemory::Larger, Some(size)) if size.next_larger(|_| true).is_none() => {
            let message = format!("`{size}` is the largest of its family, so there is none to go up to");
            report
                .warning(&given.at, "no_larger_size", message)
                .help("choose an `instance_size` of another family");
        }
        (OnOutOfMemory::Larger | OnOutOfMemory::Fail, Some(_) | None) => {}
    }
    chosen
}

/// The code, its environment and the image are of one architecture, so every size must be.
fn fallbacks(
    given: Vec<Placed<String>>,
    wanted: Option<&InstanceSize>,
    report: &mut Report<'_>,
) -> Vec<InstanceSize> {
    let mut sizes: Vec<InstanceSize> = Vec::new();
    for name in given {
        let Some(size) = known_size(&name, report) else {
            continue;
        };
        if let Some(wanted) = wanted
            && wanted.architecture() != size.architecture()
        {
            let (ours, its) = (wanted.architecture(), size.architecture());
            let message = format!("`{size}` is {its}, and the instance_size `{wanted}` is {ours}");
            report
                .error(&name.at, "other_architecture", message)
                .help(format!("what it falls back to must be {ours} as well"));
        } else if wanted == Some(&size) || sizes.contains(&size) {
            let message = format!("`{size}` is tried before");
            report.error(&name.at, "duplicate_value", message).help("remove it here");
        } else {
            sizes.push(size);
        }
    }
    sizes
}
