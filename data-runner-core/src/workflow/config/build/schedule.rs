//! When it runs by itself.

use crate::workflow::{Schedule, ScheduleRefused};
use crate::yaml::{Object, Placed, Report, Value};

const UTC: &str = "UTC";

/// Reads the schedules; those that are refused are missing in the answer.
pub(super) fn schedule(given: Vec<Placed<Value>>, report: &mut Report<'_>) -> Vec<Schedule> {
    let mut schedules: Vec<Schedule> = Vec::new();
    for item in given.into_iter().filter_map(Placed::into_object) {
        let at = item.value.place("cron").unwrap_or(item.at);
        let Some(schedule) = one(item.value, report) else {
            continue;
        };
        if schedules.contains(&schedule) {
            let message = format!("`{}` stands twice in {}", schedule.cron(), schedule.timezone());
            report.error(&at, "duplicate_value", message).help("remove one of them");
        } else {
            schedules.push(schedule);
        }
    }
    schedules
}

fn one(mut given: Object, report: &mut Report<'_>) -> Option<Schedule> {
    let zone_at = given.place("timezone");
    let zone = given.text("timezone");
    let cron = given.text("cron");
    let line = cron.as_ref().map_or("* * * * *", |cron| cron.value.as_str());
    // Line and time zone are looked at apart, so that both are reported.
    if let (Some(cron), Err(refused)) = (&cron, Schedule::new(line, UTC)) {
        report.error(&cron.at, "invalid_cron", refused.to_string()).help(help(&refused));
    }
    match Schedule::new(line, zone.as_ref().map_or(UTC, |zone| zone.value.as_str())) {
        Ok(schedule) => (cron.is_some() && zone.is_some() == zone_at.is_some()).then_some(schedule),
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
