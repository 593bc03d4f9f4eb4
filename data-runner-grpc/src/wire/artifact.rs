//! Files that jobs left.

use data_runner_core::artifact::ArtifactOffer;
use data_runner_core::id::ArtifactName;
use data_runner_core::port::BlobRef;
use data_runner_core::workflow::ArtifactRule;

use super::proto;
use super::value::{FromWire, NotUnderstood, duration, required, sha256, sha256_bytes};

impl From<&ArtifactRule> for proto::ArtifactRule {
    fn from(rule: &ArtifactRule) -> Self {
        Self { name: rule.name.to_string(), path: rule.path.to_string(), retain: duration(rule.retain) }
    }
}

impl FromWire<proto::ArtifactRule> for ArtifactRule {
    fn from_wire(wire: proto::ArtifactRule) -> Result<Self, NotUnderstood> {
        Ok(Self {
            name: name(&wire.name, "ArtifactRule.name")?,
            path: wire
                .path
                .parse()
                .map_err(|error| NotUnderstood::new(format!("ArtifactRule.path: {error}")))?,
            retain: required(wire.retain, "ArtifactRule.retain")?,
        })
    }
}

impl From<ArtifactOffer> for proto::ArtifactHead {
    fn from(offer: ArtifactOffer) -> Self {
        Self {
            claim: Some(offer.claim.into()),
            name: offer.name.to_string(),
            path: offer.path,
            sha256: sha256_bytes(&offer.blob.hash),
            bytes: offer.blob.bytes,
        }
    }
}

impl FromWire<proto::ArtifactHead> for ArtifactOffer {
    fn from_wire(wire: proto::ArtifactHead) -> Result<Self, NotUnderstood> {
        Ok(Self {
            claim: required(wire.claim, "ArtifactHead.claim")?,
            name: name(&wire.name, "ArtifactHead.name")?,
            path: wire.path,
            blob: BlobRef { hash: sha256(&wire.sha256)?, bytes: wire.bytes },
        })
    }
}

fn name(text: &str, field: &str) -> Result<ArtifactName, NotUnderstood> {
    text.parse().map_err(|error| NotUnderstood::new(format!("{field}: {error}")))
}
