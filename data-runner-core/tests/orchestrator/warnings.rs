use data_runner_core::event::{Change, EventKind, Outcome};
use data_runner_core::execution::{AttemptEnd, Ending, FinishReport, StateName};
use data_runner_core::message::AttemptStatus;

use crate::scene::{Scene, finished, joined};

fn warned(code: u8, warnings: Vec<String>) -> AttemptStatus {
    let AttemptStatus::Finished(report) = finished(Ending::Exited { code }, 0) else {
        unreachable!("it has finished")
    };
    AttemptStatus::Finished(Box::new(FinishReport { warnings, ..*report }))
}

fn told(outcome: &Outcome) -> Vec<&str> {
    let records = outcome.changes.iter().filter_map(|change| match change {
        Change::Record(record) if record.kind == EventKind::ExecutionWarning => Some(record.message.as_str()),
        _ => None,
    });
    records.collect()
}

#[test]
fn what_an_agent_warns_of_is_an_event_and_on_the_attempt_and_changes_no_state() {
    for (code, state) in [(0, StateName::Success), (3, StateName::Failed)] {
        let mut it = Scene::new(joined());
        let (id, worker, session, claim) = it.running();
        let warnings = vec!["the output is not kept".to_owned()];
        let outcome = it.reports(worker, session, claim, warned(code, warnings.clone()));
        assert_eq!(told(&outcome), ["the output is not kept"]);
        let execution = it.execution(id);
        assert_eq!(execution.state.name(), state);
        let Some(AttemptEnd::Reported(report)) = &execution.attempts[0].end else { panic!("{execution:?}") };
        assert_eq!(report.warnings, warnings);
        let outcome = it.reports(worker, session, claim, warned(code, warnings));
        assert_eq!(told(&outcome), [""; 0], "a repeated report is told once");
    }
}

#[test]
fn an_agent_that_warns_without_end_does_not_fill_the_store() {
    let mut it = Scene::new(joined());
    let (_, worker, session, claim) = it.running();
    let outcome = it.reports(worker, session, claim, warned(0, vec!["ä".repeat(5_000); 1_000]));
    let told = told(&outcome);
    assert_eq!(told.len(), FinishReport::WARNINGS);
    assert!(told.iter().all(|text| text.chars().count() == FinishReport::WARNING_LENGTH + 1));
}
