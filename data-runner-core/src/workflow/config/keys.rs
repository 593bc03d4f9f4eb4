//! The keys of `config.yaml`. The parser and the JSON Schema are both made from these tables: a key that is added here
//! is in both, and is read in `build`.

use std::time::Duration;

use crate::cost::OnExceed;
use crate::execution::{FailureCause, OnConflict};
use crate::group::MAX_MEMBERS;
use crate::workflow::{CatchUp, MessageFormat, NotifyOn, OnOutOfMemory, Spot};
use crate::yaml::{Key, Need, Shape};

const MINUTE: u64 = 60;
const DAY: u64 = 24 * 60 * MINUTE;
const GIB: u64 = 1 << 30;

/// The names of the parameters' types.
pub(super) const PARAM_TYPES: [&str; 7] = ["string", "int", "float", "bool", "date", "datetime", "enum"];

const CAUSES: [&str; FailureCause::ALL.len()] = {
    let mut names = [""; FailureCause::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = FailureCause::ALL[index].as_str();
        index += 1;
    }
    names
};

const ON_EXCEED: [&str; OnExceed::ALL.len()] = {
    let mut names = [""; OnExceed::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = OnExceed::ALL[index].as_str();
        index += 1;
    }
    names
};

const DOLLARS: Shape = Shape::Number { min: 0.0001, max: 1_000_000.0 };

const ON_CONFLICT: [&str; OnConflict::ALL.len()] = {
    let mut names = [""; OnConflict::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = OnConflict::ALL[index].as_str();
        index += 1;
    }
    names
};

const SPOT: [&str; Spot::ALL.len()] = {
    let mut names = [""; Spot::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = Spot::ALL[index].as_str();
        index += 1;
    }
    names
};

const ON_OUT_OF_MEMORY: [&str; OnOutOfMemory::ALL.len()] = {
    let mut names = [""; OnOutOfMemory::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = OnOutOfMemory::ALL[index].as_str();
        index += 1;
    }
    names
};

const NOTIFY_ON_NAMES: [&str; NotifyOn::ALL.len()] = {
    let mut names = [""; NotifyOn::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = NotifyOn::ALL[index].as_str();
        index += 1;
    }
    names
};

static NAME: Shape = Shape::text(255);
static PATH: Shape = Shape::text(1_024);
static FREE_TEXT: Shape = Shape::free_text(255);
static REQUIREMENT: Shape = Shape::text(1_024);
static REQUIREMENTS: Shape = Shape::List { of: &REQUIREMENT, min: 0, max: 500 };
static CAUSE: Shape = Shape::Choice(&CAUSES);
static REFERENCE: Shape = Shape::Reference;
static SCHEDULE: Shape = Shape::Object(&SCHEDULE_KEYS);
static NOTIFICATION: Shape = Shape::Object(&NOTIFICATION_KEYS);
static SCALAR: Shape = Shape::Scalar;
static SCALARS: Shape = Shape::List { of: &SCALAR, min: 1, max: MAX_MEMBERS };
static ARTIFACT: Shape = Shape::Object(&ARTIFACT_KEYS);
static NEED: Shape = Shape::Object(&NEED_KEYS);
static NOTIFY_ON: Shape = Shape::Choice(&NOTIFY_ON_NAMES);
static PARAM: Shape = Shape::Object(&PARAM_KEYS);
static RETRY: Shape = Shape::Object(&RETRY_KEYS);
static CONCURRENCY_LIMIT: Shape = Shape::Int { min: 1, max: 10_000 };
static CONCURRENCY: Shape = Shape::Object(&CONCURRENCY_KEYS);
// Linux refuses an environment variable of 128 KiB; its name counts too.
static ENV_VALUE: Shape = Shape::free_text(100 * 1_024);

const fn seconds(min: u64, max: u64) -> Shape {
    Shape::Duration { min: Duration::from_secs(min), max: Duration::from_secs(max) }
}

const fn key(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, need: Need::Optional, about }
}

const fn required(name: &'static str, shape: Shape, about: &'static str) -> Key {
    Key { name, shape, need: Need::Required, about }
}

const fn list(of: &'static Shape, max: usize) -> Shape {
    Shape::List { of, min: 0, max }
}

/// `config.yaml` itself.
pub(crate) static CONFIG: Shape = Shape::Object(&CONFIG_KEYS);

static CONFIG_KEYS: [Key; 25] = [
    required(
        "worker_type",
        Shape::text(63),
        "What runs it: polars (Python) or duckdb (SQL); an embedder may add types.",
    ),
    required("instance_size", Shape::text(63), "The EC2 instance type that it wants, such as t3.medium."),
    key("description", Shape::free_text(10_000), "For people."),
    key("owner", Shape::text(255), "Whom to ask."),
    key("labels", Shape::Map { of: &FREE_TEXT, max: 40 }, "For filters; also the tags of its machines."),
    key(
        "entrypoint",
        Shape::text(1_024),
        "The script, relative to the folder. Default: workflow.py or workflow.sql.",
    ),
    key(
        "include",
        list(&PATH, 50),
        "Paths of the repository that are added, also to what Python imports from.",
    ),
    key("params", Shape::Map { of: &PARAM, max: 100 }, "Declared parameters, by name."),
    key("env", Shape::Map { of: &ENV_VALUE, max: 200 }, "Environment variables."),
    key("dependencies", Shape::Object(&DEPENDENCY_KEYS), "What the job's environment must hold."),
    key("retries", list(&RETRY, 20), "When to try again; causes that are not named keep their defaults."),
    key("timeout", seconds(1, 30 * DAY), "How long your code may run. Default: 6h."),
    key("keep_warm", seconds(0, DAY), "How long its machine stays for the next execution. Default: 0."),
    key("schedule", list(&SCHEDULE, 20), "When it runs by itself."),
    key(
        "secrets",
        Shape::Map { of: &REFERENCE, max: 100 },
        "References to secrets, resolved where the job runs.",
    ),
    key("compute", Shape::Object(&COMPUTE_KEYS), "How its machine is chosen and made."),
    key("notifications", list(&NOTIFICATION, 20), "Whom to tell."),
    key(
        "start_within",
        seconds(1, 30 * DAY),
        "How long it may wait to be started. Default: as long as it takes.",
    ),
    key("budget", Shape::Object(&BUDGET_KEYS), "What its machines may cost."),
    key(
        "concurrency",
        Shape::Either { scalar: &CONCURRENCY_LIMIT, other: &CONCURRENCY },
        "How many of its executions may run at one time; a number, or a limit with its key.",
    ),
    key(
        "priority",
        Shape::Int { min: 0, max: 100 },
        "Each point counts as a minute of waiting. Default: 50.",
    ),
    key("needs", list(&NEED, 20), "Workflows whose success starts it."),
    key(
        "late_after",
        seconds(60, 30 * DAY),
        "How long after its due time it counts as late if it has not started; the due time is its schedule's, else when it was asked for. Default: never.",
    ),
    key("matrix", Shape::Object(&MATRIX_KEYS), "One execution for each combination of values."),
    key(
        "artifacts",
        list(&ARTIFACT, 20),
        "Files of its folder that are kept when the job has ended, also when it failed.",
    ),
];

static PARAM_KEYS: [Key; 4] = [
    required("type", Shape::Choice(&PARAM_TYPES), "What it may hold."),
    key("values", Shape::List { of: &NAME, min: 1, max: 1_000 }, "The values of an enum."),
    key(
        "default",
        Shape::Scalar,
        "What it holds when nothing is given; also \"${schedule.date}\", \"${needs.NAME.output.KEY}\".",
    ),
    key("description", Shape::free_text(10_000), "For people."),
];

static DEPENDENCY_KEYS: [Key; 3] = [
    key("python", Shape::text(20), "The Python, as major.minor in quotes: \"3.12\"."),
    key(
        "requirements",
        Shape::Either { scalar: &PATH, other: &REQUIREMENTS },
        "A requirements file of the folder, or a list of PEP 508 requirements.",
    ),
    key("duckdb", Shape::Object(&DUCKDB_KEYS), "The DuckDB."),
];

static DUCKDB_KEYS: [Key; 2] = [
    key("version", Shape::text(20), "\"1.4\" is the newest 1.4.x, \"1.4.4\" exactly that."),
    key("extensions", list(&NAME, 50), "Extensions to make ready and load."),
];

static RETRY_KEYS: [Key; 3] = [
    required("on", Shape::List { of: &CAUSE, min: 1, max: 10 }, "The causes of failure that it is for."),
    required(
        "max_attempts",
        Shape::Int { min: 1, max: 100 },
        "How many attempts may end by each of the causes, the first one included.",
    ),
    key("backoff", Shape::Object(&BACKOFF_KEYS), "How long to wait before the next attempt."),
];

static BACKOFF_KEYS: [Key; 3] = [
    key("initial", seconds(0, DAY), "The first wait. Default: 5s."),
    key(
        "factor",
        Shape::Number { min: 1.0, max: 100.0 },
        "What each further wait is multiplied by. Default: 2.",
    ),
    key("max", seconds(0, 7 * DAY), "The longest wait. Default: 10m."),
];

static CONCURRENCY_KEYS: [Key; 3] = [
    required("limit", Shape::Int { min: 1, max: 10_000 }, "How many may run at one time."),
    key(
        "key",
        Shape::text(255),
        "Those with the same key count together, such as ${params.region}. Default: all.",
    ),
    key(
        "on_conflict",
        Shape::Choice(&ON_CONFLICT),
        "What becomes of one that cannot start at once: queue, skip or cancel_running. Default: queue.",
    ),
];

static BUDGET_KEYS: [Key; 3] = [
    key("per_run_usd", DOLLARS, "What one execution may cost, in US dollars, all its attempts together."),
    key(
        "per_month_usd",
        DOLLARS,
        "What all its machines may cost in a calendar month of UTC, in US dollars.",
    ),
    key(
        "on_exceed",
        Shape::Choice(&ON_EXCEED),
        "What happens beyond: cancel, block (wait for the next month) or notify. Default: cancel.",
    ),
];

static SCHEDULE_KEYS: [Key; 5] = [
    required(
        "cron",
        Shape::text(255),
        "Minute, hour, day of the month, month, day of the week: 0 6 * * 1-5.",
    ),
    key("timezone", Shape::text(255), "The IANA name of the time zone, such as Europe/Madrid. Default: UTC."),
    key(
        "catch_up",
        Shape::Choice(&CatchUp::NAMES),
        "What becomes of times that passed while the supervisor was away: none, they are left out; latest, the newest of them runs; all, each of them runs. Default: none.",
    ),
    key("catch_up_window", seconds(60, 30 * DAY), "How long ago such a time may be. Default: 7d."),
    key("jitter", seconds(0, 3600), "By how much it may begin later. Default: 0."),
];

static COMPUTE_KEYS: [Key; 8] = [
    key(
        "spot",
        Shape::Choice(&SPOT),
        "Whether spare capacity, which can be taken away, will do: prefer takes one on demand where there is none, only waits. Default: never.",
    ),
    key(
        "fallback_instance_sizes",
        list(&NAME, 20),
        "Sizes of the same architecture to take, in order, when the wanted one cannot be had.",
    ),
    key(
        "disk",
        Shape::Size { min: GIB, max: 16 * 1_024 * GIB },
        "The root volume, such as 50GiB. Default: the image's.",
    ),
    key("region", Shape::text(63), "The region. Default: the installation's."),
    key(
        "subnets",
        Shape::List { of: &NAME, min: 1, max: 50 },
        "The subnets to choose from. Default: the installation's.",
    ),
    key(
        "instance_profile",
        Shape::text(128),
        "The name of the instance profile, whose role the job has. Default: the installation's.",
    ),
    key(
        "image",
        Shape::text(63),
        "The machine image, ami-…, of the same architecture. Default: the installation's for the worker type.",
    ),
    key(
        "on_out_of_memory",
        Shape::Choice(&ON_OUT_OF_MEMORY),
        "What becomes of a run that needs more memory than it has: fail, or go on with the next larger size of the \
         same family. Default: fail.",
    ),
];

static MATRIX_KEYS: [Key; 3] = [
    required("values", Shape::Map { of: &SCALARS, max: 10 }, "A list of values for each of some parameters."),
    key(
        "max_parallel",
        Shape::Int { min: 1, max: MAX_MEMBERS as i64 },
        "How many of them may be active at one time. Default: all.",
    ),
    key("fail_fast", Shape::Bool, "Whether one that fails ends the others. Default: false."),
];

static NEED_KEYS: [Key; 2] = [
    required("workflow", Shape::text(127), "Its name, or repo/name if it is of another repository."),
    key("within", seconds(60, 366 * DAY), "How long its success counts. Default: 24h."),
];

static ARTIFACT_KEYS: [Key; 3] = [
    required("name", Shape::text(63), "What they are called; each name once."),
    required(
        "path",
        Shape::text(1_024),
        "Which files, relative to the folder: out/*.parquet, or out/**/*.csv.",
    ),
    key("retain", seconds(3_600, 3_650 * DAY), "How long they are kept. Default: 30d."),
];

static NOTIFICATION_KEYS: [Key; 3] = [
    required("on", Shape::List { of: &NOTIFY_ON, min: 1, max: 10 }, "The events."),
    required(
        "webhook",
        Shape::text(2_000),
        "An https URL, or the supervisor's reference to one: env://ALERT_URL.",
    ),
    key("format", Shape::Choice(&MessageFormat::NAMES), "The form of the message. Default: json."),
];
