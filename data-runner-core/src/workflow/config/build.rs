//! From checked values to the configuration: defaults, and what one key means for another.

mod artifacts;
mod budget;
mod compute;
mod dependencies;
mod environment;
mod matrix;
mod needs;
mod notifications;
mod params;
mod paths;
mod queueing;
mod retries;
mod schedule;

use std::time::Duration;

use super::{ParseContext, WorkflowConfig};
use crate::aws_names::TagKind;
use crate::workflow::{InstanceSize, WorkerTypeSpec};
use crate::yaml::{Object, Place, Placed, Report};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(6 * 3600);

/// Builds the configuration; `None` when what it cannot do without is missing or refused. Errors are in the report.
pub(super) fn build(
    mut config: Object,
    file: &str,
    context: &ParseContext<'_>,
    report: &mut Report<'_>,
) -> Option<WorkflowConfig> {
    let folder = file.rsplit_once('/').map_or("", |(folder, _)| folder);

    let type_name = config.text("worker_type");
    let worker_type = type_name.as_ref().and_then(|name| known_type(name, context, report));
    let type_at = type_name.map(|name| name.at);

    let size = config.text("instance_size").and_then(|name| known_size(&name, report));
    let compute = compute::compute(config.object("compute"), size.as_ref(), report);
    let labels = TagKind::Label.read(config.text_map("labels"), report);
    let entrypoint = paths::entrypoint(config.text("entrypoint"), worker_type.zip(type_at), context, report);
    let include = paths::include(config.texts("include"), folder, report);
    let given = config.map("params");
    let names: Vec<Placed<String>> = given.iter().map(|(name, _)| name.clone()).collect();
    let needs = needs::needs(config.list("needs"), file, report);
    let params = params::params(given, &needs, report);
    let schedule = schedule::schedule(config.list("schedule"), report);
    let matrix = matrix::matrix(config.take("matrix"), &params, report);
    let alone = match (schedule.is_empty(), needs.is_empty()) {
        (false, _) => Some("schedule"),
        (true, false) => Some("needs"),
        (true, true) => None,
    };
    if let Some(alone) = alone {
        params::check_defaults(&names, &params, (alone, matrix.as_ref()), report);
    }
    let env = environment::env(config.text_map("env"), report);
    let secrets = environment::secrets(config.text_map("secrets"), &env, report);
    let notifications = notifications::notifications(config.list("notifications"), report);
    let artifacts = artifacts::artifacts(config.list("artifacts"), report);
    let dependencies =
        dependencies::dependencies(config.object("dependencies"), worker_type, context, report);
    let retries = retries::retries(config.list("retries"), report);
    let budget_at = config.place("budget");
    let budget = budget_at.and_then(|at| budget::budget(config.object("budget"), &at, report));
    let queueing = queueing::queueing(&mut config, &params, report);
    Some(WorkflowConfig {
        worker_type: worker_type?.name.clone(),
        instance_size: size?,
        description: config.text("description").map(|text| text.value),
        owner: config.text("owner").map(|text| text.value),
        labels,
        entrypoint: entrypoint?,
        include,
        params,
        env,
        dependencies,
        retries,
        timeout: config.duration("timeout").unwrap_or(DEFAULT_TIMEOUT),
        late_after: config.duration("late_after"),
        keep_warm: config.duration("keep_warm").unwrap_or(Duration::ZERO),
        compute,
        schedule,
        secrets,
        notifications,
        budget,
        queueing,
        needs,
        matrix,
        artifacts,
    })
}

fn known_type<'c>(
    name: &Placed<String>,
    context: &ParseContext<'c>,
    report: &mut Report<'_>,
) -> Option<&'c WorkerTypeSpec> {
    let types = context.worker_types;
    let found = types.get(&name.value);
    if found.is_none() {
        let message = format!("there is no worker type `{}`", name.value);
        let reported = report.error(&name.at, "unknown_worker_type", message);
        match types.nearest(&name.value) {
            Some(nearest) => reported.did_you_mean(Some(nearest)),
            None => reported.help(format!("there are {}", types.names().collect::<Vec<_>>().join(", "))),
        }
    }
    found
}

fn known_size(name: &Placed<String>, report: &mut Report<'_>) -> Option<InstanceSize> {
    match name.value.parse() {
        Ok(size) => Some(size),
        Err(_) => {
            let message = format!("`{}` is not an EC2 instance type that is known", name.value);
            let reported = report.error(&name.at, "unknown_instance_size", message);
            match InstanceSize::nearest(&name.value) {
                Some(nearest) => reported.did_you_mean(Some(nearest)),
                None => reported.help("it is a name such as t3.medium, m7i.xlarge or r8g.2xlarge"),
            }
            None
        }
    }
}

/// The worker type with the place where it is named.
type TypeAt<'c> = Option<(&'c WorkerTypeSpec, Place)>;
