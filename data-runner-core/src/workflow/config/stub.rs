//! stub
#![allow(missing_docs)]
use super::*;
use crate::id::*;
use crate::workflow::*;
use std::collections::BTreeMap;
pub struct WorkerTypes;
pub struct ParseContext<'a> {
    pub files: &'a [String],
    pub worker_types: &'a WorkerTypes,
}
pub struct ParsedConfig {
    pub config: Option<WorkflowConfig>,
    pub problems: Vec<Problem>,
}
pub fn parse(_file: &str, _text: &[u8], _c: &ParseContext<'_>) -> ParsedConfig {
    ParsedConfig {
        config: None,
        problems: vec![],
    }
}
pub fn check_script(_f: &str, _t: &[u8], _w: &WorkerType) -> Vec<Problem> {
    vec![]
}
pub mod params {
    use super::*;
    pub fn resolve(
        _s: &BTreeMap<String, ParamSpec>,
        _g: &serde_json::Map<String, serde_json::Value>,
        _t: jiff::civil::Date,
    ) -> Result<BTreeMap<String, ParamValue>, Vec<Problem>> {
        Ok(BTreeMap::new())
    }
}
pub fn prepare_job(
    _w: &Workflow,
    _r: &Revision,
    _c: &WorkflowConfig,
    _b: BundleRef,
    _p: BTreeMap<String, ParamValue>,
) -> JobSpec {
    unimplemented!()
}
