//! The JSON Schema of `config.yaml`, for editors. It is made from the parser's own tables.

use serde_json::{Value, json};

use super::keys::CONFIG;
use crate::workflow::{InstanceSize, WorkerTypes};
use crate::yaml;

/// The path that the schema is served at.
pub const SCHEMA_PATH: &str = "/schema/config.json";

/// The schema (draft 2020-12), with the worker types that are known here.
pub fn json_schema(worker_types: &WorkerTypes) -> Value {
    let mut schema = yaml::json_schema(&CONFIG);
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema".into();
    schema["$id"] = SCHEMA_PATH.into();
    schema["title"] = "Data Runner workflow".into();
    let properties = &mut schema["properties"];
    properties["worker_type"]["enum"] = json!(worker_types.names().collect::<Vec<_>>());
    let sizes = json!(InstanceSize::names().collect::<Vec<_>>());
    properties["compute"]["properties"]["fallback_instance_sizes"]["items"]["enum"] = sizes.clone();
    properties["instance_size"]["enum"] = sizes;
    schema
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::workflow::config::{ParseContext, parse};

    #[test]
    fn the_schema_and_the_parser_know_the_same_keys() {
        let types = WorkerTypes::default();
        let schema = json_schema(&types);
        for (name, _) in schema["properties"].as_object().unwrap() {
            let text = format!("{name}: ~\n");
            let context = ParseContext { worker_types: &types, files: None };
            let parsed = parse("w/config.yaml", text.as_bytes(), &context);
            let codes: Vec<_> = parsed.problems().iter().map(|problem| problem.code.as_str()).collect();
            assert!(!codes.contains(&"unknown_key"), "the schema has {name}, the parser has not");
        }
        assert_eq!(schema["required"], json!(["worker_type", "instance_size"]));
        assert_eq!(schema["properties"]["worker_type"]["enum"], json!(["duckdb", "polars"]));
        assert_eq!(schema["properties"]["retries"]["items"]["properties"]["max_attempts"]["minimum"], 1);
        assert_eq!(schema["properties"]["dependencies"]["additionalProperties"], false);
        assert_eq!(
            schema["properties"]["schedule"]["items"]["properties"]["catch_up"]["enum"],
            json!(["none", "latest", "all"])
        );
        assert_eq!(
            schema["properties"]["compute"]["properties"]["spot"]["enum"],
            json!(["never", "prefer", "only"])
        );
    }
}
