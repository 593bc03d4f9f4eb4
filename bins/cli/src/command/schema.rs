//! `schema`: the documents that editors and clients are made from.

use data_runner_core::workflow::WorkerTypes;
use data_runner_core::workflow::config::json_schema;

use crate::args::{SchemaArgs, SchemaKind};
use crate::error::Error;
use crate::output::Output;

/// Prints the document; it is this version's, no server is asked.
pub fn schema(args: &SchemaArgs, output: Output) -> Result<u8, Error> {
    match args.kind {
        SchemaKind::Config => output.json(&json_schema(&WorkerTypes::default()))?,
        SchemaKind::Openapi => output.line(&data_runner_rest::openapi())?,
    }
    Ok(0)
}
