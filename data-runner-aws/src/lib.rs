//! Machines on EC2, code on S3, prices.
//!
//! [`Ec2Provisioner`] plans, launches, lists and ends machines of one [`AwsAccount`]. The rules that it follows stand
//! where they are kept: what EC2's answers mean in `answer.rs`, the order of candidates in `plan.rs`, what a machine is
//! told in `user_data/`.

mod answer;
mod bake;
mod blobs;
mod call;
mod doctor;
mod gather;
mod images;
mod launch;
mod list;
mod options;
mod pinned;
mod plan;
mod prices;
mod provisioner;
mod request;
mod tags;
mod terminate;
mod throttle;
mod user_data;

#[cfg(test)]
mod tests;

pub use bake::Ec2Baker;
pub use blobs::{NotAPlace, S3Blobs, S3Place};
pub use call::{AwsAccount, CallError};
pub use doctor::Ec2Doctor;
pub use options::{AgentBinary, Ec2Options};
pub use provisioner::Ec2Provisioner;
pub use user_data::{
    AgentProgram, AgentSource, Bake, EmbeddedBundle, MOST_BYTES, POWER_OFF, TrustedBy, UserData,
    UserDataError,
};
