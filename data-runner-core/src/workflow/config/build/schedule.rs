//! When it runs by itself.

use crate::workflow::{CatchUp, Schedule, ScheduleLine, ScheduleRefused};
use crate::yaml::{Object, Placed, Report, Value};

const UTC: &str = "UTC";

/// Reads the schedules; those that are refused are missing in the answer.
pub(super) fn schedule(given: Vec<Placed<Value>>, report: &mut Report<'_>) -> Vec<ScheduleLine> {
    let mut lines: Vec<ScheduleLine> = Vec::new();
    for item in given.into_iter().filter_map(Placed::into_object) {
        let at = item.value.place("cron").unwrap_or(item.at);
        let Some(line) = one(item.value, report) else {
            continue;
        };
        let schedule = &line.schedule;
        if lines.iter().any(|known| known.schedule == *schedule) {
            let message = format!("`{}` stands twice in {}", schedule.cron(), schedule.timezone());
            report.error(&at, "duplicate_value", message).help("remove one of them");
        } else {
            lines.push(line);
        }
    }
    lines
}

fn one(mut given: Object, report: &mut Report<'_>) -> Option<ScheduleLine> {
    let catch_up = catch_up(&mut given, report);
    let jitter = given.duration("jitter").unwrap_or_default();
    let zone_at = given.place("timezone");
    let zone = given.text("timezone");
    let cron = given.text("cron");
    let line = cron.as_ref().map_or("* * * * *", |cron| cron.value.as_str());
    // Line and time zone are looked at apart, so that both are reported.
    if let (Some(cron), Err(refused)) = (&cron, Schedule::new(line, UTC)) {
        report.error(&cron.at, "invalid_cron", refused.to_string()).help(help(&refused));
    }
    match Schedule::new(line, zone.as_ref().map_or(UTC, |zone| zone.value.as_str())) {
        Ok(schedule) => (cron.is_some() && zone.is_some() == zone_at.is_some()).then_some(ScheduleLine {
            schedule,
            catch_up,
            jitter,
        }),
        Err(refused) => {
            if let (Some(zone), ScheduleRefused::Timezone { nearest, .. }) = (&zone, &refused) {
                let reported = report.error(&zone.at, "unknown_timezone", refused.to_string());
                match nearest {
                    Some(nearest) => reported.did_you_mean(Some(nearest)),
                    None => reported.help(help(&refused)),
                }
            }
            None
        }
    }
}

fn catch_up(given: &mut Object, report: &mut Report<'_>) -> CatchUp {
    let wanted = given.text("catch_up").map(|it| it.value);
    let window_at = given.place("catch_up_window");
    let within = given.duration("catch_up_window").unwrap_or(CatchUp::DEFAULT_WINDOW);
    match wanted.as_deref() {
        Some("latest") => CatchUp::Latest { window: within },
        Some("all") => CatchUp::All { window: within },
        Some(_) | None => {
            if let Some(window_at) = window_at {
                let message = "nothing is caught up with, so that it has no window";
                report
                    .error(&window_at, "misplaced_key", message)
                    .help("add `catch_up: latest` or `catch_up: all`, or remove it");
            }
            CatchUp::None
        }
    }
}

fn help(refused: &ScheduleRefused) -> String {
    match refused {
        ScheduleRefused::Fields { .. } => {
            "minute, hour, day of the month, month, day of the week: 0 6 * * 1-5".to_owned()
        }
        ScheduleRefused::Field { field, .. } => {
            format!("it is {}; also *, ranges, lists and steps: 1-5, 1,3, */2", field.range)
        }
        ScheduleRefused::Never => "the months that it names do not have that day".to_owned(),
        ScheduleRefused::Timezone { .. } => "it is an IANA name, such as Europe/Madrid".to_owned(),
    }
}
