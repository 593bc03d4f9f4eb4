//! One execution for each combination of values.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::ParamValue;

/// What a configuration says of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Matrix {
    /// The values of some parameters; at least one of each.
    pub values: BTreeMap<String, Vec<ParamValue>>,
    /// How many may be active at one time; `None`: all of them.
    pub max_parallel: Option<u32>,
    /// Whether one that fails ends the others.
    pub fail_fast: bool,
}

impl Matrix {
    /// What is given to each execution: every combination, the last parameter's values changing first. A parameter that
    /// is given by hand has that value and no other.
    pub fn combinations(&self, given: &Map<String, Value>) -> Vec<Map<String, Value>> {
        let mut all = vec![given.clone()];
        for (name, values) in self.values.iter().filter(|(name, _)| !given.contains_key(*name)) {
            let with = |one: &Map<String, Value>, value: &ParamValue| {
                let mut one = one.clone();
                one.insert(name.clone(), value.to_json());
                one
            };
            all = all.iter().flat_map(|one| values.iter().map(|value| with(one, value))).collect();
        }
        all
    }

    /// Whether each of its parameters is given, so that there is one combination only.
    pub fn is_fixed_by(&self, given: &Map<String, Value>) -> bool {
        self.values.keys().all(|name| given.contains_key(name))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn each_combination_is_there_once_and_what_is_given_stays() {
        let texts = |texts: [&str; 2]| texts.map(|text| ParamValue::String(text.to_owned())).to_vec();
        let matrix = Matrix {
            values: [("region".to_owned(), texts(["eu", "us"])), ("tier".to_owned(), texts(["a", "b"]))]
                .into(),
            max_parallel: None,
            fail_fast: false,
        };
        let shown = |given: Value| {
            let given = given.as_object().unwrap();
            let all = matrix.combinations(given);
            (Value::from_iter(all).to_string(), matrix.is_fixed_by(given))
        };
        let all = r#"[{"region":"eu","tier":"a"},{"region":"eu","tier":"b"},{"region":"us","tier":"a"},{"region":"us","tier":"b"}]"#;
        assert_eq!(shown(serde_json::json!({})), (all.to_owned(), false));
        let some = r#"[{"n":1,"region":"eu","tier":"b"},{"n":1,"region":"us","tier":"b"}]"#;
        assert_eq!(shown(serde_json::json!({"tier": "b", "n": 1})), (some.to_owned(), false));
        assert!(shown(serde_json::json!({"tier": "b", "region": "us"})).1);
    }
}
