//! How things of AWS are named: enough to find a slip before AWS does, and to keep anything else out of requests.

use std::collections::BTreeMap;

use crate::yaml::{Placed, Report};

/// A kind of thing that AWS knows by a name or an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AwsName {
    Region,
    Subnet,
    SecurityGroup,
    Image,
    InstanceProfile,
}

impl AwsName {
    /// What a person calls it, after "cannot be".
    const fn described(self) -> &'static str {
        match self {
            Self::Region => "a region",
            Self::Subnet => "a subnet",
            Self::SecurityGroup => "a security group",
            Self::Image => "an image",
            Self::InstanceProfile => "an instance profile",
        }
    }

    const fn example(self) -> &'static str {
        match self {
            Self::Region => "it is a name such as eu-west-1",
            Self::Subnet => "it is an id such as subnet-0a1b2c3d4e5f67890",
            Self::SecurityGroup => "it is an id such as sg-0a1b2c3d4e5f67890",
            Self::Image => "it is an id such as ami-0a1b2c3d4e5f67890",
            Self::InstanceProfile => {
                "it is the profile's name, not its ARN: letters, digits and + = , . @ _ -"
            }
        }
    }

    fn fits(self, text: &str) -> bool {
        let id = |prefix: &str| {
            text.strip_prefix(prefix).is_some_and(|rest| {
                (1..=32).contains(&rest.len())
                    && rest.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase())
            })
        };
        match self {
            Self::Region => {
                let parts: Vec<&str> = text.split('-').collect();
                let words = |parts: &[&str]| {
                    parts.iter().all(|p| !p.is_empty() && p.bytes().all(|b| b.is_ascii_lowercase()))
                };
                text.len() <= 32
                    && parts.split_last().is_some_and(|(number, front)| {
                        front.len() >= 2
                            && words(front)
                            && !number.is_empty()
                            && number.bytes().all(|b| b.is_ascii_digit())
                    })
            }
            Self::Subnet => id("subnet-"),
            Self::SecurityGroup => id("sg-"),
            Self::Image => id("ami-"),
            Self::InstanceProfile => {
                (1..=128).contains(&text.len())
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
            }
        }
    }

    /// Reads a name; what it cannot be is reported.
    pub(crate) fn read(self, given: Placed<String>, report: &mut Report<'_>) -> Option<String> {
        if self.fits(&given.value) {
            return Some(given.value);
        }
        let message = format!("`{}` cannot be {}", given.value.escape_debug(), self.described());
        report.error(&given.at, "invalid_value", message).help(self.example());
        None
    }

    /// Reads a list of names; one that stands twice is reported.
    pub(crate) fn read_all(self, given: Vec<Placed<String>>, report: &mut Report<'_>) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for item in given {
            let at = item.at.clone();
            let Some(name) = self.read(item, report) else {
                continue;
            };
            if names.contains(&name) {
                report
                    .error(&at, "duplicate_value", format!("`{name}` stands twice"))
                    .help("remove one of them");
            } else {
                names.push(name);
            }
        }
        names
    }
}

/// What becomes a tag of machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TagKind {
    /// A workflow's.
    Label,
    /// The installation's.
    Tag,
}

impl TagKind {
    /// Reads tags by what EC2 allows: 128 characters for a name, 256 for a value, and no names that begin with `aws:`;
    /// nor with `data-runner:`, by which we know our machines.
    pub(crate) fn read(
        self,
        given: Vec<(Placed<String>, Placed<String>)>,
        report: &mut Report<'_>,
    ) -> BTreeMap<String, String> {
        let (what, code) = match self {
            Self::Label => ("label", "invalid_label"),
            Self::Tag => ("tag", "invalid_tag"),
        };
        let valid = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
        let mut tags = BTreeMap::new();
        for (name, value) in given {
            let lower = name.value.to_lowercase();
            let taken = ["aws:", "data-runner:"].iter().any(|front| lower.starts_with(front));
            if taken || !(1..=128).contains(&name.value.chars().count()) {
                let message = format!("`{}` cannot be the name of a {what}", name.value);
                let help = "it has 1 to 128 characters and begins neither with aws: nor with data-runner:";
                report.error(&name.at, code, message).help(help);
            } else if let Some(bad) = name.value.chars().chain(value.value.chars()).find(|c| !valid(*c)) {
                let at = if name.value.contains(bad) { &name.at } else { &value.at };
                let message = format!("the {what} `{}` holds {bad:?}", name.value);
                let help = "letters, digits, spaces and _ . : / = + - @ may stand there";
                report.error(at, code, message).help(help);
            } else {
                tags.insert(name.value, value.value);
            }
        }
        tags
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_aws_are_known_from_what_is_written_in_their_place_by_mistake() {
        for (kind, good, bad) in [
            (
                AwsName::Region,
                vec!["eu-west-1", "us-gov-west-1", "ap-southeast-12"],
                vec!["eu-west-1a", "eu", "Eu-west-1", "", "eu--1", "eu-1"],
            ),
            (AwsName::Subnet, vec!["subnet-0abc"], vec!["subnet-", "sg-0abc", "subnet-0ABC", "subnet-0 a"]),
            (AwsName::SecurityGroup, vec!["sg-0abc"], vec!["default", "subnet-1"]),
            (AwsName::Image, vec!["ami-0123456789abcdef0"], vec!["resolve:ssm:/aws/x", "ami-"]),
            (
                AwsName::InstanceProfile,
                vec!["etl", "a+b=c,d.e@f_g-h"],
                vec!["arn:aws:iam::1:instance-profile/etl", "", "é"],
            ),
        ] {
            assert!(good.iter().all(|name| kind.fits(name)), "{kind:?}");
            assert_eq!(bad.iter().find(|name| kind.fits(name)), None, "{kind:?}");
        }
    }
}
