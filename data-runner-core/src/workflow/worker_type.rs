//! What runs workflows: the worker types that an installation knows.

use std::collections::BTreeMap;

use crate::id::WorkerType;
use crate::yaml::nearest;

/// A worker type, as far as configuration is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerTypeSpec {
    /// Its name in `worker_type`.
    pub name: WorkerType,
    /// The script that it runs when `entrypoint` is not given.
    pub entrypoint: String,
    /// What its scripts are written in.
    pub language: ScriptLanguage,
}

/// What a script is written in: decides which dependencies make sense, and how the script's text is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScriptLanguage {
    /// Python: `python` and `requirements` apply.
    Python,
    /// DuckDB's SQL: `duckdb` applies.
    Sql,
    /// Something of an embedder's own: nothing is presumed.
    Other,
}

/// The worker types that are known, by name. The default knows `polars` and `duckdb`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerTypes(BTreeMap<WorkerType, WorkerTypeSpec>);

impl Default for WorkerTypes {
    fn default() -> Self {
        let built_in = [
            ("polars", "workflow.py", ScriptLanguage::Python),
            ("duckdb", "workflow.sql", ScriptLanguage::Sql),
        ];
        built_in.into_iter().fold(Self(BTreeMap::new()), |types, (name, entrypoint, language)| {
            // Both names are valid; a test looks them up.
            match name.parse() {
                Ok(name) => types.with(WorkerTypeSpec { name, entrypoint: entrypoint.to_owned(), language }),
                Err(_) => types,
            }
        })
    }
}

impl WorkerTypes {
    /// The same with one more; one of the same name is replaced.
    #[must_use]
    pub fn with(mut self, spec: WorkerTypeSpec) -> Self {
        self.0.insert(spec.name.clone(), spec);
        self
    }

    /// The type of that name.
    pub fn get(&self, name: &str) -> Option<&WorkerTypeSpec> {
        self.0.values().find(|spec| spec.name.as_str() == name)
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.0.keys().map(WorkerType::as_str)
    }

    /// The name that is nearest to `given`, if one is near.
    pub fn nearest(&self, given: &str) -> Option<&str> {
        nearest(given, self.names())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn polars_and_duckdb_are_known_from_the_start_and_others_can_be_added() {
        let types = WorkerTypes::default();
        assert_eq!(types.names().collect::<Vec<_>>(), ["duckdb", "polars"]);
        assert_eq!(types.get("duckdb").unwrap().entrypoint, "workflow.sql");
        assert_eq!(types.nearest("polar"), Some("polars"));
        let more = types.with(WorkerTypeSpec {
            name: "shell".parse().unwrap(),
            entrypoint: "workflow.sh".to_owned(),
            language: ScriptLanguage::Other,
        });
        assert_eq!(more.get("shell").unwrap().entrypoint, "workflow.sh");
    }
}
