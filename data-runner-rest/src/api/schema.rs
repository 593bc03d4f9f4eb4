//! Schemas of core's own names, so that the OpenAPI document lists them without a second enum.

use data_runner_core::access::Scope;
use data_runner_core::execution::{FailureCause, Phase, StateName};
use data_runner_core::log::Stream;
use data_runner_core::worker::WorkerStateName;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

fn one_of(names: impl IntoIterator<Item = &'static str>) -> Object {
    ObjectBuilder::new().schema_type(SchemaType::Type(Type::String)).enum_values(Some(names)).build()
}

pub(super) fn execution_state() -> Object {
    one_of(StateName::ALL.map(StateName::as_str))
}

pub(super) fn worker_state() -> Object {
    use WorkerStateName::{Booting, Busy, Draining, Idle, Launching, Terminated, Terminating};
    one_of([Launching, Booting, Idle, Busy, Draining, Terminating, Terminated].map(WorkerStateName::as_str))
}

pub(super) fn failure_cause() -> Object {
    one_of(FailureCause::ALL.map(FailureCause::as_str))
}

pub(super) fn scope() -> Object {
    one_of(Scope::ALL.map(Scope::as_str))
}

pub(super) fn stream() -> Object {
    one_of([Stream::Stdout, Stream::Stderr].map(Stream::as_str))
}

/// Phases that were reached, by name.
pub(super) fn phases() -> Object {
    let moment = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .format(Some(utoipa::openapi::SchemaFormat::KnownFormat(utoipa::openapi::KnownFormat::DateTime)))
        .build();
    Phase::ALL
        .into_iter()
        .fold(ObjectBuilder::new().schema_type(SchemaType::Type(Type::Object)), |object, phase| {
            object.property(phase.as_str(), moment.clone())
        })
        .build()
}
