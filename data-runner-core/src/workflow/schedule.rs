//! When a workflow runs by itself.

use std::sync::LazyLock;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, ToSpan};
use serde::{Deserialize, Serialize};

use super::ScheduleDates;
use crate::time::Timestamp;
use crate::yaml::nearest;

/// What is not due for longer than this counts as never: no line of five fields that means anything waits so long (the
/// 29th of February comes after eight years at the most).
const HORIZON_YEARS: i64 = 10;

/// The time zones that the program brings along: the machine's own files would make a decision depend on the machine.
static ZONES: LazyLock<TimeZoneDatabase> = LazyLock::new(TimeZoneDatabase::bundled);

/// One schedule of a workflow. Its identity is its cron line and its time zone, not its place in the list.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Schedule {
    cron: String,
    timezone: String,
}

/// Why a schedule is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleRefused {
    /// It is not a line of five fields.
    #[error("a cron line has five fields, not {found}")]
    Fields {
        /// How many it has.
        found: usize,
    },
    /// One of the fields cannot be read.
    #[error("`{text}` cannot be the {} of a cron line", field.name)]
    Field {
        /// Which.
        field: &'static CronField,
        /// What stands there.
        text: String,
    },
    /// There is no such moment, as in `0 0 30 2 *`.
    #[error("the cron line is never due")]
    Never,
    /// There is no such time zone.
    #[error("there is no time zone `{given}`")]
    Timezone {
        /// The name as it came.
        given: String,
        /// The nearest known one.
        nearest: Option<String>,
    },
}

/// A field of a cron line.
#[derive(Debug, PartialEq, Eq)]
pub struct CronField {
    /// What it is called.
    pub name: &'static str,
    /// What may stand there.
    pub range: &'static str,
    /// The letters that may stand there: names, or single letters with a meaning.
    words: &'static [&'static str],
}

static FIELDS: [CronField; 5] = [
    CronField { name: "minute", range: "0-59", words: &[] },
    CronField { name: "hour", range: "0-23", words: &[] },
    CronField { name: "day of the month", range: "1-31, or L for the last", words: &["L", "W"] },
    CronField {
        name: "month",
        range: "1-12, or JAN to DEC",
        words: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    },
    CronField {
        name: "day of the week",
        range: "0-7, or SUN to SAT (Sunday is 0 and 7)",
        words: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "L"],
    },
];

impl Schedule {
    /// A schedule that is due at least once in ten years. Blanks of the line are evened out, so that they do not make
    /// another schedule of it.
    ///
    /// # Errors
    /// What is wrong with the line or the time zone.
    pub fn new(cron: &str, timezone: &str) -> Result<Self, ScheduleRefused> {
        if !ZONES.available().any(|known| known.as_str() == timezone) {
            let known: Vec<_> = ZONES.available().collect();
            let near = nearest(timezone, known.iter().map(jiff::tz::TimeZoneName::as_str));
            let near = near.map(ToOwned::to_owned);
            return Err(ScheduleRefused::Timezone { given: timezone.to_owned(), nearest: near });
        }
        read_cron(cron)?;
        let cron = cron.split_whitespace().collect::<Vec<_>>().join(" ");
        let schedule = Self { cron, timezone: timezone.to_owned() };
        // A line holds no year, so where the search begins does not matter.
        schedule.next_after(Timestamp::from_micros(0)).map(|_| schedule).ok_or(ScheduleRefused::Never)
    }

    /// Five fields: minute, hour, day of month, month, day of week.
    pub fn cron(&self) -> &str {
        &self.cron
    }

    /// The IANA name of the time zone, such as `Europe/Madrid`.
    pub fn timezone(&self) -> &str {
        &self.timezone
    }

    /// The date at `at` where it runs: a tick's own date.
    pub fn date_at(&self, at: Timestamp) -> Option<Date> {
        let zone = ZONES.get(&self.timezone).ok()?;
        let at = jiff::Timestamp::from_microsecond(at.micros()).ok()?;
        Some(at.to_zoned(zone).date())
    }

    /// The dates of a tick: its own, and the last one before it on which the schedule was due. Of a schedule that is due
    /// for the first time that is the day before.
    pub fn dates_at(&self, due: Timestamp) -> Option<ScheduleDates> {
        self.dates_of(self.date_at(due)?)
    }

    /// The same for a date.
    pub fn dates_of(&self, date: Date) -> Option<ScheduleDates> {
        let mut days = 1_i64;
        let mut previous = None;
        // Far enough back for a day to be found, and not much further.
        while previous.is_none() && days <= HORIZON_YEARS * 366 {
            let mut from = date.checked_sub(days.days()).ok()?;
            while let Some(found) = self.next_date(from).filter(|found| *found < date) {
                previous = Some(found);
                from = found.tomorrow().ok()?;
            }
            days *= 2;
        }
        let previous = previous.or_else(|| date.yesterday().ok())?;
        Some(ScheduleDates { date, previous })
    }

    /// The first date from `date` on at which it is due, where it runs.
    pub fn next_date(&self, date: Date) -> Option<Date> {
        let zone = ZONES.get(&self.timezone).ok()?;
        let begins = date.to_zoned(zone).ok()?.timestamp();
        let before = Timestamp::from_micros(begins.as_microsecond().checked_sub(1)?);
        self.date_at(self.next_after(before)?)
    }

    /// The first moment after `after` at which it is due; `None` when that is more than ten years away.
    ///
    /// Where clocks change, it does what cron does. A line that names its hours and minutes is due once for each time
    /// of the day that it names: what falls into the hour that is left out, when that hour is over; what falls into
    /// the hour that comes twice, the first time only. A line whose minute or hour begins with `*` follows the clock:
    /// what is left out is left out, what comes twice comes twice.
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        // It was checked field by field when it was made.
        let cron = parser().parse(&self.cron).ok()?;
        let zone = ZONES.get(&self.timezone).ok()?;
        let clock = Clock { cron, zone, named_times: names_its_times(&self.cron) };
        let second = after.micros().div_euclid(1_000_000).checked_add(1)?;
        let due = clock.next_from(jiff::Timestamp::from_second(second).ok()?)?;
        Some(Timestamp::from_micros(due.as_microsecond()))
    }
}

/// The dates from `from` to `to` on which at least one of the schedules is due, or every day where there is none; at most
/// `most` of them, the first ones.
pub fn dates_between(schedules: &[Schedule], from: Date, to: Date, most: usize) -> Vec<ScheduleDates> {
    let next = |date: Date| match schedules {
        [] => Some(date),
        some => some.iter().filter_map(|schedule| schedule.next_date(date)).min(),
    };
    let previous = |date: Date| {
        let known = schedules.iter().filter_map(|schedule| Some(schedule.dates_of(date)?.previous));
        known.max().or_else(|| date.yesterday().ok())
    };
    let mut dates = Vec::new();
    let mut open = next(from);
    while let Some(date) = open.filter(|date| *date <= to && dates.len() < most) {
        let Some(previous) = previous(date) else { break };
        dates.push(ScheduleDates { date, previous });
        open = date.tomorrow().ok().and_then(next);
    }
    dates
}

/// Whether a line names each time of the day: neither its minute nor its hour begins with `*`.
fn names_its_times(cron: &str) -> bool {
    cron.split_whitespace().take(2).all(|field| !field.starts_with('*'))
}

fn parser() -> CronParser {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build()
}

/// A line of five fields; names may be in small letters.
fn read_cron(line: &str) -> Result<Cron, ScheduleRefused> {
    let parser = parser();
    let given: Vec<&str> = line.split_whitespace().collect();
    if given.len() != FIELDS.len() {
        return Err(ScheduleRefused::Fields { found: given.len() });
    }
    for (index, (field, text)) in FIELDS.iter().zip(&given).enumerate() {
        let mut alone = ["*"; FIELDS.len()];
        alone[index] = text;
        if !field.may_hold(text) || parser.parse(&alone.join(" ")).is_err() {
            return Err(ScheduleRefused::Field { field, text: (*text).to_owned() });
        }
    }
    parser.parse(&given.join(" ")).map_err(|_| ScheduleRefused::Never)
}

impl CronField {
    /// Whether only what belongs into this field stands there. The parser would take the name of a weekday for a month.
    fn may_hold(&self, text: &str) -> bool {
        let words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        text.chars().all(|c| c.is_ascii_alphanumeric() || "*,-/#".contains(c))
            && words.into_iter().all(|word| self.words.contains(&word.to_ascii_uppercase().as_str()))
    }
}

/// A line on the clocks of a time zone.
struct Clock {
    cron: Cron,
    zone: TimeZone,
    named_times: bool,
}

/// A stretch of time in which clocks run evenly.
struct Stretch {
    offset: Offset,
    /// What clocks showed where it began, by the offset before, if they were changed then.
    before: Option<(jiff::Timestamp, DateTime)>,
    end: Option<jiff::Timestamp>,
}

impl Clock {
    /// The first moment, a whole second, from `from` on.
    fn next_from(&self, mut from: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let horizon = from.checked_add((HORIZON_YEARS * 366 * 24).hours()).ok()?;
        while from < horizon {
            let stretch = self.stretch(from)?;
            let begins = stretch.offset.to_datetime(from);
            let search = match stretch.before {
                // In the hour that comes twice, its times have had their turn.
                Some((_, shown)) if self.named_times && shown > begins => shown,
                // The hour that was left out ends now, and its times are due now.
                Some((at, shown)) if self.named_times && at == from && shown < begins => shown,
                Some(_) | None => begins,
            };
            let found = self.cron.find_next_occurrence(&search, true).ok()?.max(begins);
            let due = stretch.offset.to_timestamp(found).ok()?;
            if stretch.end.is_none_or(|end| due < end) {
                return (due < horizon).then_some(due);
            }
            from = stretch.end?;
        }
        None
    }

    fn stretch(&self, at: jiff::Timestamp) -> Option<Stretch> {
        let second = SignedDuration::from_secs(1);
        // Clocks change at whole seconds, so this finds a change at `at` itself.
        let changed = self.zone.preceding(at.checked_add(second).ok()?).next();
        let before = changed.and_then(|change| {
            let offset = self.zone.to_offset(change.timestamp().checked_sub(second).ok()?);
            Some((change.timestamp(), offset.to_datetime(change.timestamp())))
        });
        let end = self.zone.following(at).next().map(|change| change.timestamp());
        Some(Stretch { offset: self.zone.to_offset(at), before, end })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::from_micros(text.parse::<jiff::Timestamp>().unwrap().as_microsecond())
    }

    /// The moments after `from`, as people of the place see them.
    fn due(cron: &str, timezone: &str, from: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::new(cron, timezone).unwrap();
        let zone = ZONES.get(timezone).unwrap();
        let mut from = at(from);
        let mut moments = Vec::new();
        for _ in 0..count {
            from = schedule.next_after(from).unwrap();
            let moment = jiff::Timestamp::from_microsecond(from.micros()).unwrap();
            moments.push(moment.to_zoned(zone.clone()).strftime("%a %Y-%m-%d %H:%M %:z").to_string());
        }
        moments
    }

    #[test]
    fn it_is_due_at_the_local_time_that_the_line_names() {
        assert_eq!(
            due("0 6 * * 1-5", "Europe/Madrid", "2026-08-07T12:00:00Z", 3),
            ["Mon 2026-08-10 06:00 +02:00", "Tue 2026-08-11 06:00 +02:00", "Wed 2026-08-12 06:00 +02:00"]
        );
        assert_eq!(
            due("*/20 9 1 jan,jul *", "Asia/Kolkata", "2026-06-30T00:00:00Z", 4),
            [
                "Wed 2026-07-01 09:00 +05:30",
                "Wed 2026-07-01 09:20 +05:30",
                "Wed 2026-07-01 09:40 +05:30",
                "Fri 2027-01-01 09:00 +05:30"
            ]
        );
    }

    #[test]
    fn the_moment_itself_is_past_and_a_microsecond_before_it_is_not() {
        let hourly = Schedule::new("0 * * * *", "UTC").unwrap();
        let noon = at("2026-08-01T12:00:00Z");
        assert_eq!(hourly.next_after(noon), Some(at("2026-08-01T13:00:00Z")));
        assert_eq!(hourly.next_after(Timestamp::from_micros(noon.micros() - 1)), Some(noon));
        assert_eq!(
            hourly.next_after(Timestamp::from_micros(noon.micros() + 1)),
            Some(at("2026-08-01T13:00:00Z"))
        );
    }

    #[test]
    fn a_time_in_the_hour_that_is_left_out_is_due_when_that_hour_is_over() {
        // Madrid: on 2026-03-29 at 02:00 clocks go to 03:00.
        assert_eq!(
            due("30 2 * * *", "Europe/Madrid", "2026-03-28T00:00:00Z", 3),
            ["Sat 2026-03-28 02:30 +01:00", "Sun 2026-03-29 03:00 +02:00", "Mon 2026-03-30 02:30 +02:00"]
        );
        // One of several named hours is not lost either, and what falls together is due once.
        assert_eq!(
            due("0 2,3,14 * * *", "Europe/Madrid", "2026-03-29T00:00:00Z", 3),
            ["Sun 2026-03-29 03:00 +02:00", "Sun 2026-03-29 14:00 +02:00", "Mon 2026-03-30 02:00 +02:00"]
        );
        // Not on a day that the line does not name.
        assert_eq!(
            due("30 2 * * 1", "Europe/Madrid", "2026-03-28T00:00:00Z", 1),
            ["Mon 2026-03-30 02:30 +02:00"]
        );
    }

    #[test]
    fn a_time_in_the_hour_that_comes_twice_is_due_the_first_time_only() {
        // New York: on 2026-11-01 at 02:00 clocks go back to 01:00.
        assert_eq!(
            due("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", 2),
            ["Sun 2026-11-01 01:30 -04:00", "Mon 2026-11-02 01:30 -05:00"]
        );
        // Asked in the second half, when the supervisor was away during the first.
        assert_eq!(
            due("30 1 * * *", "America/New_York", "2026-11-01T06:10:00Z", 1),
            ["Mon 2026-11-02 01:30 -05:00"]
        );
    }

    #[test]
    fn a_line_that_follows_the_clock_leaves_out_and_repeats_what_the_clock_does() {
        assert_eq!(
            due("30 * * * *", "Europe/Madrid", "2026-03-29T00:00:00Z", 2),
            ["Sun 2026-03-29 01:30 +01:00", "Sun 2026-03-29 03:30 +02:00"]
        );
        assert_eq!(
            due("*/30 * * * *", "America/New_York", "2026-11-01T04:50:00Z", 5),
            [
                "Sun 2026-11-01 01:00 -04:00",
                "Sun 2026-11-01 01:30 -04:00",
                "Sun 2026-11-01 01:00 -05:00",
                "Sun 2026-11-01 01:30 -05:00",
                "Sun 2026-11-01 02:00 -05:00"
            ]
        );
    }

    #[test]
    fn half_hours_and_midnights_that_are_left_out_are_no_exception() {
        // Lord Howe moves its clocks by half an hour; Cairo's go from 00:00 to 01:00.
        assert_eq!(
            due("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", 1),
            ["Sun 2026-10-04 02:30 +11:00"]
        );
        assert_eq!(
            due("0 0 * * 5", "Africa/Cairo", "2026-04-22T00:00:00Z", 1),
            ["Fri 2026-04-24 01:00 +03:00"]
        );
        // Samoa went without the 30th of December 2011: what was due on that day is due when the next one begins.
        assert_eq!(
            due("0 6 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", 1),
            ["Sat 2011-12-31 00:00 +14:00"]
        );
    }

    #[test]
    fn the_date_before_a_tick_is_the_last_one_on_which_it_was_due() {
        let dates = |cron: &str, zone: &str, tick: &str| {
            let dates = Schedule::new(cron, zone).unwrap().dates_at(at(tick)).unwrap();
            format!("{} {}", dates.previous, dates.date)
        };
        // Half past midnight in Madrid is the day before in UTC.
        assert_eq!(dates("30 0 * * *", "Europe/Madrid", "2026-08-01T22:30:00Z"), "2026-08-01 2026-08-02");
        assert_eq!(dates("0 6 * * 1-5", "UTC", "2026-08-03T06:00:00Z"), "2026-07-31 2026-08-03");
        assert_eq!(dates("0 * * * *", "UTC", "2026-08-03T06:00:00Z"), "2026-08-02 2026-08-03");
        assert_eq!(dates("0 0 29 2 *", "UTC", "2028-02-29T00:00:00Z"), "2024-02-29 2028-02-29");
        assert_eq!(dates("0 0 * * 5", "Africa/Cairo", "2026-04-23T22:00:00Z"), "2026-04-17 2026-04-24");
    }

    #[test]
    fn a_range_of_dates_has_those_on_which_a_schedule_is_due_each_once() {
        let shown = |schedules: &[&str], most| {
            let schedules: Vec<Schedule> =
                schedules.iter().map(|cron| Schedule::new(cron, "Europe/Madrid").unwrap()).collect();
            let day = |day| jiff::civil::date(2026, 7, day);
            let dates = dates_between(&schedules, day(3), day(8), most);
            dates.iter().map(|it| format!("{}<{}", it.previous.day(), it.date.day())).collect::<Vec<_>>()
        };
        // The 3rd is a Friday.
        assert_eq!(shown(&[], 4), ["2<3", "3<4", "4<5", "5<6"]);
        assert_eq!(shown(&["0 6 * * 1-5"], 100), ["2<3", "3<6", "6<7", "7<8"]);
        assert_eq!(shown(&["*/5 * * * 1,5", "30 0 5 * *"], 100), ["29<3", "3<5", "5<6"]);
        assert!(shown(&["0 0 1 1 *"], 100).is_empty());
    }

    #[test]
    fn a_leap_day_is_waited_for_over_a_century_and_a_day_that_never_comes_is_refused() {
        assert_eq!(due("0 0 29 2 *", "UTC", "2096-03-01T00:00:00Z", 1), ["Fri 2104-02-29 00:00 +00:00"]);
        for never in ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 31 11 *"] {
            assert!(Schedule::new(never, "UTC").is_err(), "{never}");
        }
        assert_eq!(Schedule::new("0 0 30 2 *", "UTC"), Err(ScheduleRefused::Never));
    }

    #[test]
    fn a_line_that_cannot_be_read_says_which_field_is_wrong() {
        for (cron, message) in [
            ("0 6 * *", "a cron line has five fields, not 4"),
            ("0 0 6 * * 1", "a cron line has five fields, not 6"),
            ("@daily", "a cron line has five fields, not 1"),
            ("60 6 * * *", "`60` cannot be the minute of a cron line"),
            ("0 24 * * *", "`24` cannot be the hour of a cron line"),
            ("0 MON * * *", "`MON` cannot be the hour of a cron line"),
            ("0 6 0 * *", "`0` cannot be the day of the month of a cron line"),
            ("0 6 * MON *", "`MON` cannot be the month of a cron line"),
            ("0 6 * * 8", "`8` cannot be the day of the week of a cron line"),
            ("0 6 * * MONDAY", "`MONDAY` cannot be the day of the week of a cron line"),
            ("0 6 ? * +1", "`?` cannot be the day of the month of a cron line"),
            ("*/0 * * * *", "`*/0` cannot be the minute of a cron line"),
            ("ñ * * * *", "`ñ` cannot be the minute of a cron line"),
        ] {
            assert_eq!(Schedule::new(cron, "UTC").unwrap_err().to_string(), message);
        }
    }

    #[test]
    fn a_misspelt_time_zone_names_the_nearest_one() {
        for (given, expected) in [
            ("Europe/Madird", Some("Europe/Madrid")),
            ("europe/madrid", Some("Europe/Madrid")),
            ("Nowhere", None),
        ] {
            let refused = Schedule::new("0 6 * * *", given).unwrap_err();
            let nearest = expected.map(str::to_owned);
            assert_eq!(refused, ScheduleRefused::Timezone { given: given.to_owned(), nearest });
        }
    }

    #[test]
    fn blanks_make_no_other_schedule() {
        assert_eq!(Schedule::new(" 0   6 * * 1-5", "UTC"), Schedule::new("0 6 * * 1-5", "UTC"));
    }

    proptest::proptest! {
        /// The moments rise, and on clocks that never change each is what the line says.
        #[test]
        fn moments_rise_strictly(from in 0_i64..4_000_000_000, minute in 0_u8..60, hour in 0_u8..24) {
            for (cron, zone) in [(format!("{minute} {hour} * * *"), "Europe/Madrid"), (format!("{minute} */3 * * *"), "America/New_York")] {
                let schedule = Schedule::new(&cron, zone).unwrap();
                let from = Timestamp::from_micros(from * 1_000_000);
                let first = schedule.next_after(from).unwrap();
                let second = schedule.next_after(first).unwrap();
                proptest::prop_assert!(from < first && first < second);
                // Nothing is skipped: asked a moment earlier, the answer is the same.
                proptest::prop_assert_eq!(schedule.next_after(Timestamp::from_micros(first.micros() - 1)), Some(first));
                proptest::prop_assert!(second.micros() - first.micros() <= 25 * 3_600 * 1_000_000);
            }
        }
    }
}
