//! `schedule`: when workflows run by themselves.

use data_runner_core::time::Timestamp as Moment;
use data_runner_core::workflow::Schedule as Line;
use data_runner_rest::api::{Page, Schedule, Workflow};
use jiff::Timestamp;
use serde::Serialize;

use super::context::Context;
use super::run::encode_name;
use super::workflow::FIND;
use crate::args::ScheduleCommand;
use crate::error::Error;
use crate::output::{Field, Table, cut, say, time, whole};

/// A time at which a workflow will run.
#[derive(Debug, Serialize)]
struct Due {
    due: Timestamp,
    cron: String,
    timezone: String,
}

/// Does what was asked about schedules.
pub async fn schedule(command: &ScheduleCommand, context: &Context) -> Result<u8, Error> {
    let all: Page<Schedule> = context.client.get("/schedules").await?;
    match command {
        ScheduleCommand::List => {
            if all.items.is_empty() && context.output.is_table() {
                say("no workflow has a schedule; `schedule:` in its config.yaml gives it one");
                return Ok(0);
            }
            let name = |it: &Schedule| it.workflow.clone();
            context.output.many(&all.items, name, |all| context.output.draw(&table(all)))?;
        }
        ScheduleCommand::Next { workflow, count } => {
            let path = format!("/workflows/{}", encode_name(workflow));
            let found: Workflow =
                context.client.get(&path).await.map_err(|error| error.helping_to_find(FIND))?;
            let of_it = all.items.iter().filter(|it| it.workflow_id == found.id && !it.paused);
            let dues = next(of_it, *count);
            if dues.is_empty() && context.output.is_table() {
                say("it does not run by itself: it has no schedule, or is paused");
                return Ok(0);
            }
            context.output.many(&dues, |it| it.due.to_string(), |all| context.output.draw(&times(all)))?;
        }
    }
    Ok(0)
}

/// The next times of several schedules, in order. The server says the first; what follows is in the line.
fn next<'a>(schedules: impl Iterator<Item = &'a Schedule>, count: usize) -> Vec<Due> {
    let mut dues = Vec::new();
    for schedule in schedules {
        let line = Line::new(&schedule.cron, &schedule.timezone).ok();
        let mut next = schedule.next;
        for _ in 0..count {
            let Some(due) = next else { break };
            dues.push(Due { due, cron: schedule.cron.clone(), timezone: schedule.timezone.clone() });
            let after = Moment::from_micros(due.as_microsecond());
            let following = line.as_ref().and_then(|line| line.next_after(after));
            next = following.and_then(|at| Timestamp::from_microsecond(at.micros()).ok());
        }
    }
    dues.sort_by_key(|due| due.due);
    dues.truncate(count);
    dues
}

fn table(schedules: &[Schedule]) -> Table {
    let mut table = Table::new([whole("WORKFLOW"), whole("SCHEDULE"), whole("NEXT"), cut("LAST")]);
    for schedule in schedules {
        let next = match (schedule.paused, schedule.next) {
            (true, _) => "paused".to_owned(),
            (false, Some(next)) => time::moment(next),
            (false, None) => "-".to_owned(),
        };
        let last = schedule.last.as_ref().map_or_else(
            || "-".to_owned(),
            |last| format!("{} {}", time::moment(last.due), last.outcome.replace('_', " ")),
        );
        table.row([
            Field::new(&schedule.workflow),
            Field::new(format!("{} {}", schedule.cron, schedule.timezone)),
            Field::new(next),
            Field::new(last),
        ]);
    }
    table
}

fn times(dues: &[Due]) -> Table {
    let mut table = Table::new([whole("DUE"), whole("SCHEDULE")]);
    for due in dues {
        table.row([Field::new(time::moment(due.due)), Field::new(format!("{} {}", due.cron, due.timezone))]);
    }
    table
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_next_times_of_several_schedules_come_in_order() {
        let schedule = |cron: &str, next: &str| Schedule {
            workflow: "etl/orders".to_owned(),
            workflow_id: "019b76da-a800-7000-8000-000000000001".parse().unwrap(),
            cron: cron.to_owned(),
            timezone: "UTC".to_owned(),
            catch_up: "none".to_owned(),
            jitter_seconds: 0.0,
            paused: false,
            next: Some(next.parse().unwrap()),
            last: None,
        };
        let schedules =
            [schedule("0 6 * * *", "2026-08-02T06:00:00Z"), schedule("0 */12 * * *", "2026-08-02T00:00:00Z")];
        let dues: Vec<String> = next(schedules.iter(), 4).iter().map(|due| due.due.to_string()).collect();
        assert_eq!(
            dues,
            ["2026-08-02T00:00:00Z", "2026-08-02T06:00:00Z", "2026-08-02T12:00:00Z", "2026-08-03T00:00:00Z"]
        );
    }
}
