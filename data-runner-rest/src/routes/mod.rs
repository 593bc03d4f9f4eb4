//! The handlers, by what they are about.

pub(crate) mod advice;
pub(crate) mod agent;
pub(crate) mod artifacts;
pub(crate) mod bundles;
pub(crate) mod commands;
pub(crate) mod costed;
pub(crate) mod costs;
pub(crate) mod doctor;
pub(crate) mod events;
pub(crate) mod executions;
pub(crate) mod find;
pub(crate) mod groups;
pub(crate) mod history;
pub(crate) mod hooks;
pub(crate) mod images;
pub(crate) mod logs;
pub(crate) mod repos;
pub(crate) mod schedules;
pub(crate) mod secrets;
pub(crate) mod server;
pub(crate) mod tokens;
pub(crate) mod validate;
pub(crate) mod workers;
pub(crate) mod workflows;
