//! Where machines would be, and whether they could reach the supervisor, as far as it can be known from here.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use aws_sdk_ec2::types::Subnet;
use data_runner_core::port::Finding;
use data_runner_core::settings::Ec2Settings;
use tokio::net::{TcpStream, lookup_host};

use crate::call::{AwsAccount, CallError, in_words};

/// How long a connection may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// That they exist, have room, and belong together.
pub(super) async fn subnets_and_groups(account: &AwsAccount, settings: &Ec2Settings) -> Vec<Finding> {
    let subnets = account.ec2.describe_subnets().set_subnet_ids(Some(settings.subnets.clone())).send().await;
    let subnets = match subnets.map_err(|error| CallError::of("DescribeSubnets", error)) {
        Ok(shown) => shown.subnets.unwrap_or_default(),
        Err(error) => {
            let help = "correct `ec2.subnets`, and allow ec2:DescribeSubnets";
            return vec![Finding::bad("subnets", in_words(&error), help)];
        }
    };
    let mut findings: Vec<_> = subnets.iter().map(|subnet| room(subnet, settings.max_machines)).collect();
    let groups = account
        .ec2
        .describe_security_groups()
        .set_group_ids(Some(settings.security_groups.clone()))
        .send()
        .await;
    findings.push(match groups.map_err(|error| CallError::of("DescribeSecurityGroups", error)) {
        Ok(shown) => {
            let of_groups = shown.security_groups().iter().filter_map(|group| group.vpc_id());
            let networks = subnets.iter().filter_map(Subnet::vpc_id).chain(of_groups);
            together(&networks.collect())
        }
        Err(error) => Finding::bad(
            "security groups",
            in_words(&error),
            "correct `ec2.security_groups`, and allow ec2:DescribeSecurityGroups",
        ),
    });
    findings
}

fn room(subnet: &Subnet, wanted: u32) -> Finding {
    let (id, zone) = (subnet.subnet_id().unwrap_or_default(), subnet.availability_zone().unwrap_or_default());
    let free = subnet.available_ip_address_count().unwrap_or(0);
    let found = format!("in {zone}, {free} free addresses");
    if u32::try_from(free).unwrap_or(0) >= wanted {
        Finding::good(id, found)
    } else {
        Finding::warning(id, found, "add a subnet, or lower `ec2.max_machines`")
    }
}

fn together(networks: &BTreeSet<&str>) -> Finding {
    match networks.iter().next() {
        Some(network) if networks.len() == 1 => {
            Finding::good("security groups", format!("in {network}, as the subnets"))
        }
        Some(_) | None => Finding::bad(
            "security groups",
            format!("subnets and security groups are in {} networks", networks.len()),
            "take all of them from one VPC",
        ),
    }
}

/// Whether something answers where machines will dial.
pub(super) async fn supervisor(public_url: &str) -> Vec<Finding> {
    const CHECK: &str = "public_url";
    let Some((host, port)) = address(public_url) else {
        let help = "write `https://` and the address that machines reach";
        return vec![Finding::bad(CHECK, format!("{public_url:?} is no https address"), help)];
    };
    let found = tokio::time::timeout(PATIENCE, lookup_host((host, port))).await;
    let addresses: Vec<_> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            let help = "take a name that resolves inside the VPC, or an address";
            return vec![Finding::bad(CHECK, format!("{host} does not resolve: {error}"), help)];
        }
        Err(_) => Vec::new(),
    };
    if addresses.iter().any(|address| only_here(address.ip())) {
        let help = "machines are elsewhere: take this host's address in the VPC";
        return vec![Finding::bad(CHECK, format!("{host} is this machine only"), help)];
    }
    let connected = tokio::time::timeout(PATIENCE, TcpStream::connect(addresses.as_slice())).await;
    vec![match connected {
        Ok(Ok(_)) => Finding::warning(
            CHECK,
            "something answers there from here; whether machines reach it cannot be known from here",
            "let the supervisor's security group take connections from the machines' groups at both of its ports",
        ),
        Ok(Err(error)) => Finding::bad(
            CHECK,
            format!("{host}:{port} does not answer: {error}"),
            "start the supervisor, or correct `public_url`",
        ),
        Err(_) => Finding::bad(
            CHECK,
            format!("{host}:{port} does not answer within {} s", PATIENCE.as_secs()),
            "look at the security group of the supervisor",
        ),
    }]
}

/// Host and port of an https address.
fn address(url: &str) -> Option<(&str, u16)> {
    let rest = url.strip_prefix("https://")?;
    let authority = rest.split(['/', '?', '#']).next().filter(|authority| !authority.is_empty())?;
    if let Some(bracketed) = authority.strip_prefix('[') {
        let (host, port) = bracketed.split_once(']')?;
        return Some((host, port.strip_prefix(':').map_or(Some(443), |port| port.parse().ok())?));
    }
    match authority.rsplit_once(':') {
        Some((host, port)) => Some((host, port.parse().ok()?)),
        None => Some((authority, 443)),
    }
}

fn only_here(address: IpAddr) -> bool {
    address.is_loopback() || address.is_unspecified()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_from_a_url() {
        for (url, expected) in [
            ("https://10.0.1.5:8443", Some(("10.0.1.5", 8443))),
            ("https://runner.example/x", Some(("runner.example", 443))),
            ("https://[fd00::5]:8443/", Some(("fd00::5", 8443))),
            ("http://10.0.1.5:8443", None),
            ("https://", None),
            ("https://host:port", None),
        ] {
            assert_eq!(address(url), expected, "{url}");
        }
    }
}
