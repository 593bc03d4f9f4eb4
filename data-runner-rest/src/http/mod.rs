//! What every route needs of HTTP: how requests are read, and how they are refused.

pub(crate) mod body;
pub(crate) mod edge;
pub(crate) mod guard;
pub(crate) mod login;
pub(crate) mod path;
pub(crate) mod query;
pub(crate) mod refusal;
pub(crate) mod rejection;
pub(crate) mod time;
