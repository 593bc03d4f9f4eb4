//! What changed between two executions.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;

use data_runner_core::execution::differences;
use data_runner_core::workflow::ParamValue;
use data_runner_testkit::sample::execution;
use serde_json::json;

#[test]
fn an_execution_differs_from_its_like_in_nothing() {
    assert_eq!(differences(&execution(1), &execution(2)), []);
}

#[test]
fn what_was_asked_for_differently_is_named() {
    let (first, mut second) = (execution(1), execution(2));
    let job = Arc::make_mut(&mut second.job);
    job.params.insert("weather".to_owned(), ParamValue::String("fair".to_owned()));
    job.env.insert("A/B".to_owned(), "1".to_owned());
    second.instance_size = "m7i.large".to_owned();
    let found = differences(&first, &second);
    let shown: Vec<_> = found.iter().map(|it| (it.pointer.as_str(), it.to.clone().unwrap())).collect();
    let wanted = [
        ("/env/A~1B", json!("1")),
        ("/instance_size", json!("m7i.large")),
        ("/params/weather", json!("fair")),
    ];
    assert_eq!(shown, wanted);
    let back = differences(&second, &first);
    assert!(back.iter().all(|it| it.from.is_some()), "{back:?}");
    assert_eq!((&back[0].to, &back[1].to), (&None, &found[1].from));
}
