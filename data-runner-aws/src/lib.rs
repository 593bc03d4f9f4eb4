//! Machines on EC2, code on S3, prices.

mod user_data;

pub use user_data::{
    AgentProgram, AgentSource, Architecture, EmbeddedBundle, MOST_BYTES, POWER_OFF, TrustedBy, UserData,
    UserDataError,
};
