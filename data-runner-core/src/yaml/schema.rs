//! A shape as JSON Schema (draft 2020-12), for editors.

use serde_json::{Map, Value, json};

use super::shape::Empty;
use super::{Key, Need, Shape};

/// The pattern of a duration; `read_duration` is the authority.
const DURATION: &str = "^(0|(?=[0-9])([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?)$";

/// The pattern of a reference to a secret; `SecretRef` is the authority.
const REFERENCE: &str = "^(env|aws-ssm|aws-secretsmanager)://.+$";

/// The schema of a value.
pub(crate) fn json_schema(shape: &Shape) -> Value {
    match shape {
        Shape::Text(rule) => {
            let least = if rule.empty == Empty::Refused { 1 } else { 0 };
            json!({"type": "string", "minLength": least, "maxLength": rule.max})
        }
        Shape::Choice(names) => json!({"enum": names}),
        Shape::Reference => json!({"type": "string", "pattern": REFERENCE}),
        Shape::Bool => json!({"type": "boolean"}),
        Shape::Int { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Shape::Number { min, max } => json!({"type": "number", "minimum": min, "maximum": max}),
        // A bare 0 is a duration too.
        Shape::Duration { .. } => json!({"anyOf": [{"type": "string", "pattern": DURATION}, {"const": 0}]}),
        Shape::Size { .. } => json!({"type": "string", "pattern": "^[0-9]+(MiB|GiB|TiB)$"}),
        Shape::Scalar => json!({"type": ["string", "number", "boolean"]}),
        Shape::List { of, min, max } => {
            json!({"type": "array", "items": json_schema(of), "minItems": min, "maxItems": max})
        }
        Shape::Map { of, max } => {
            json!({"type": "object", "additionalProperties": json_schema(of), "maxProperties": max})
        }
        Shape::Object(keys) => object(keys),
        Shape::Either { scalar, other } => json!({"anyOf": [json_schema(scalar), json_schema(other)]}),
    }
}

fn object(keys: &[Key]) -> Value {
    let mut properties = Map::new();
    for key in keys {
        let mut schema = json_schema(&key.shape);
        schema["description"] = key.about.into();
        properties.insert(key.name.to_owned(), schema);
    }
    let required: Vec<_> = keys.iter().filter(|key| key.need == Need::Required).map(|key| key.name).collect();
    json!({"type": "object", "additionalProperties": false, "required": required, "properties": properties})
}
