//! What a workflow may ask of EC2: the operator's word, against a push that would raise rights.

use std::fmt;

use super::{Ec2Allow, Ec2Settings};
use crate::worker::MachineRequest;
use crate::workflow::InstanceSize;

/// A request that the operator does not allow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct NotAllowed {
    /// Everything in it that is not allowed; at least one.
    pub refusals: Vec<Refusal>,
}

/// One thing that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The key of `config.yaml` that asks, such as `compute.image`.
    pub key: &'static str,
    /// What it asks for.
    pub asked: String,
    /// The key of `supervisor.yaml` that decides, such as `ec2.allow.images`.
    pub rule: &'static str,
    /// What may be asked for.
    pub allowed: Vec<String>,
}

impl fmt::Display for NotAllowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, refusal) in self.refusals.iter().enumerate() {
            let between = if index == 0 { "" } else { "; " };
            write!(f, "{between}{refusal}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, asked, rule, allowed } = self;
        let allowed = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
        write!(f, "`{key}` asks for {asked}, and {rule} allows {allowed}")
    }
}

impl Ec2Settings {
    /// Whether a workflow may have such a machine. What the installation itself uses is always allowed; the region is
    /// never another one.
    ///
    /// # Errors
    /// Everything that is not allowed, each with the key that asks for it and what the operator allows.
    pub fn permits(&self, request: &MachineRequest) -> Result<(), NotAllowed> {
        let compute = &request.compute;
        let fallbacks = compute.fallback_instance_sizes.iter().map(InstanceSize::as_str);
        let mut refusals = Vec::new();
        let mut ask = |key, asked: &str, rule: &Rule| refusals.extend(rule.refuses(key, asked));

        let sizes = Rule::sizes(&self.allow);
        ask("instance_size", &request.instance_size, &sizes);
        fallbacks.for_each(|size| ask("compute.fallback_instance_sizes", size, &sizes));

        let region = Rule { key: "ec2.region", allowed: vec![self.region.clone()], any: false };
        compute.region.iter().for_each(|asked| ask("compute.region", asked, &region));

        let subnets = Rule::of("ec2.allow.subnets", &self.subnets, &self.allow.subnets);
        compute.subnets.iter().for_each(|asked| ask("compute.subnets", asked, &subnets));

        let own = self.instance_profile.as_slice();
        let profiles = Rule::of("ec2.allow.instance_profiles", own, &self.allow.instance_profiles);
        compute.instance_profile.iter().for_each(|asked| ask("compute.instance_profile", asked, &profiles));

        let own: Vec<String> = self.images.values().cloned().collect();
        let images = Rule::of("ec2.allow.images", &own, &self.allow.images);
        compute.image.iter().for_each(|asked| ask("compute.image", asked, &images));

        if refusals.is_empty() { Ok(()) } else { Err(NotAllowed { refusals }) }
    }
}

/// What one key of the operator's says.
struct Rule {
    key: &'static str,
    /// Names; those of sizes may end in `*`.
    allowed: Vec<String>,
    /// Nothing is said, and that means everything.
    any: bool,
}

impl Rule {
    fn sizes(allow: &Ec2Allow) -> Self {
        let allowed = allow.instance_sizes.clone();
        Self { key: "ec2.allow.instance_sizes", any: allowed.is_empty(), allowed }
    }

    fn of(key: &'static str, own: &[String], allow: &[String]) -> Self {
        let mut allowed: Vec<String> = own.iter().chain(allow).cloned().collect();
        allowed.sort();
        allowed.dedup();
        Self { key, allowed, any: false }
    }

    fn refuses(&self, key: &'static str, asked: &str) -> Option<Refusal> {
        let allowed = self.any || self.allowed.iter().any(|pattern| fits(pattern, asked));
        (!allowed).then(|| Refusal {
            key,
            asked: asked.to_owned(),
            rule: self.key,
            allowed: self.allowed.clone(),
        })
    }
}

/// Instance sizes by patterns: a name, or one that ends in `*`, such as `t3.*`. None at all: every size.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SizePatterns(pub Vec<String>);

impl SizePatterns {
    /// Whether a size is among them.
    pub fn allow(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| fits(pattern, name))
    }
}

impl Ec2Allow {
    /// The known sizes that a pattern of `instance_sizes` allows.
    pub(super) fn matching(pattern: &str) -> impl Iterator<Item = &'static str> {
        InstanceSize::names().filter(move |size| fits(pattern, size))
    }
}

/// A name fits itself; `t3.*` fits every name that begins with `t3.`.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(front) => name.starts_with(front),
        None => name == pattern,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::settings::CodeDelivery;
    use crate::workflow::Compute;

    fn settings() -> Ec2Settings {
        let texts = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        Ec2Settings {
            region: "eu-west-1".to_owned(),
            subnets: texts(&["subnet-1"]),
            security_groups: texts(&["sg-1"]),
            public_ip: false,
            images: [("polars".parse().unwrap(), "ami-1".to_owned())].into(),
            instance_profile: Some("etl".to_owned()),
            max_machines: 20,
            join_within: Duration::from_secs(300),
            tags: BTreeMap::new(),
            allow: Ec2Allow {
                instance_sizes: texts(&["t3.*", "m6i.large"]),
                instance_profiles: texts(&["reports"]),
                images: texts(&["ami-2"]),
                subnets: texts(&["subnet-2"]),
            },
            code_delivery: CodeDelivery::Grpc,
            bucket: None,
        }
    }

    fn ask(size: &str, compute: Compute) -> Result<(), String> {
        let request = MachineRequest { compute, ..MachineRequest::plain(size, None, 1) };
        settings().permits(&request).map_err(|refused| refused.to_string())
    }

    fn refused(message: &str) -> Result<(), String> {
        Err(message.to_owned())
    }

    #[test]
    fn what_the_operator_names_and_what_the_installation_uses_itself_is_allowed() {
        assert_eq!(ask("t3.medium", Compute::default()), Ok(()));
        for (subnet, profile, image) in [("subnet-1", "etl", "ami-1"), ("subnet-2", "reports", "ami-2")] {
            let compute = Compute {
                fallback_instance_sizes: vec!["t3.large".parse().unwrap(), "m6i.large".parse().unwrap()],
                region: Some("eu-west-1".to_owned()),
                subnets: vec![subnet.to_owned()],
                instance_profile: Some(profile.to_owned()),
                image: Some(image.to_owned()),
                ..Compute::default()
            };
            assert_eq!(ask("m6i.large", compute), Ok(()));
        }
    }

    #[test]
    fn a_size_beyond_the_patterns_is_refused_and_so_is_one_to_fall_back_to() {
        let allows = "and ec2.allow.instance_sizes allows t3.*, m6i.large";
        assert_eq!(
            ask("m6i.xlarge", Compute::default()),
            refused(&format!("`instance_size` asks for m6i.xlarge, {allows}"))
        );
        assert_eq!(
            ask("t3a.medium", Compute::default()),
            refused(&format!("`instance_size` asks for t3a.medium, {allows}")),
            "t3.* is not t3*"
        );
        let compute =
            Compute { fallback_instance_sizes: vec!["x1.32xlarge".parse().unwrap()], ..Compute::default() };
        assert_eq!(
            ask("t3.medium", compute),
            refused(&format!("`compute.fallback_instance_sizes` asks for x1.32xlarge, {allows}"))
        );
    }

    #[test]
    fn a_push_cannot_take_another_role_image_or_network() {
        let compute = Compute { instance_profile: Some("admin".to_owned()), ..Compute::default() };
        assert_eq!(
            ask("t3.nano", compute),
            refused(
                "`compute.instance_profile` asks for admin, and ec2.allow.instance_profiles allows etl, reports"
            )
        );
        let compute = Compute { image: Some("ami-666".to_owned()), ..Compute::default() };
        assert_eq!(
            ask("t3.nano", compute),
            refused("`compute.image` asks for ami-666, and ec2.allow.images allows ami-1, ami-2")
        );
        let compute =
            Compute { subnets: vec!["subnet-1".to_owned(), "subnet-9".to_owned()], ..Compute::default() };
        assert_eq!(
            ask("t3.nano", compute),
            refused("`compute.subnets` asks for subnet-9, and ec2.allow.subnets allows subnet-1, subnet-2")
        );
    }

    #[test]
    fn another_region_is_refused() {
        let compute = Compute { region: Some("us-east-1".to_owned()), ..Compute::default() };
        assert_eq!(
            ask("t3.nano", compute),
            refused("`compute.region` asks for us-east-1, and ec2.region allows eu-west-1")
        );
    }

    #[test]
    fn everything_that_is_not_allowed_is_said_at_once() {
        let compute = Compute {
            region: Some("us-east-1".to_owned()),
            image: Some("ami-9".to_owned()),
            ..Compute::default()
        };
        let request = MachineRequest { compute, ..MachineRequest::plain("p5.48xlarge", None, 1) };
        let keys: Vec<_> =
            settings().permits(&request).unwrap_err().refusals.iter().map(|refusal| refusal.key).collect();
        assert_eq!(keys, ["instance_size", "compute.region", "compute.image"]);
    }

    #[test]
    fn an_operator_who_says_nothing_allows_every_size_and_nothing_else() {
        let silent = Ec2Settings {
            allow: Ec2Allow::default(),
            instance_profile: None,
            images: BTreeMap::new(),
            ..settings()
        };
        assert_eq!(silent.permits(&MachineRequest::plain("x1.32xlarge", None, 1)), Ok(()));
        let compute = Compute {
            instance_profile: Some("etl".to_owned()),
            image: Some("ami-1".to_owned()),
            ..Compute::default()
        };
        let request = MachineRequest { compute, ..MachineRequest::plain("t3.nano", None, 1) };
        assert_eq!(
            silent.permits(&request).unwrap_err().to_string(),
            "`compute.instance_profile` asks for etl, and ec2.allow.instance_profiles allows none; \
             `compute.image` asks for ami-1, and ec2.allow.images allows none"
        );
    }
}
