//! The real engines. Their tools come from the machine's package index, once, into the build folder.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod fixture;
mod s3_server;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use data_runner_core::execution::{Ending, FailureCause};
use data_runner_core::log::Stream;
use data_runner_core::port::{ExecuteError, Executor, JobEnd, Prepared, RunRequest, SecretValue, Source};
use data_runner_core::workflow::{PackageChoice, PackageLock, ParamValue, PythonDependency, Resources};
use data_runner_exec::{
    CloudCredentials, CloudKeys, DuckdbExecutor, EnvironmentOptions, Environments, PolarsExecutor,
    RunOptions, Runner,
};
use data_runner_testkit::contract::executor::{bytes_of, follow};
use fixture::{Fixture, shims};

fn environments() -> Environments {
    let tools = Path::new(env!("CARGO_TARGET_TMPDIR")).join("tools");
    Environments::new(EnvironmentOptions::new(tools))
}

fn duckdb() -> Arc<dyn Executor> {
    let runner = Runner::new(shims(), RunOptions::default());
    Arc::new(DuckdbExecutor::new("duckdb".parse().unwrap(), runner, environments()))
}

fn polars() -> Arc<dyn Executor> {
    let runner = Runner::new(shims(), RunOptions::default());
    Arc::new(PolarsExecutor::new("polars".parse().unwrap(), runner, environments()))
}

fn request(fixture: &Fixture, file: &str, text: &str) -> RunRequest {
    let mut run = fixture.empty_request();
    Arc::make_mut(&mut run.job).entrypoint = file.to_owned();
    fs::write(run.working_directory().join(file), text).unwrap();
    run
}

async fn prepare(executor: &dyn Executor, run: &RunRequest) -> Result<Prepared, ExecuteError> {
    executor.prepare(Arc::new(run.clone())).await
}

struct Outcome {
    stdout: String,
    stderr: String,
    end: JobEnd,
    notes: Vec<String>,
    command: Vec<std::ffi::OsString>,
    packages: Option<Arc<PackageLock>>,
}

async fn run(executor: &dyn Executor, run: RunRequest) -> Outcome {
    let prepared = prepare(executor, &run).await.unwrap();
    let job = executor.start(Arc::new(run), prepared.clone()).await.unwrap();
    let (chunks, end) = follow(job.as_ref()).await;
    let text = |stream| String::from_utf8(bytes_of(&chunks, stream)).unwrap();
    let Prepared { notes, command, packages, .. } = prepared;
    Outcome { stdout: text(Stream::Stdout), stderr: text(Stream::Stderr), end, notes, command, packages }
}

#[derive(Debug)]
struct Role;

#[async_trait::async_trait]
impl CloudCredentials for Role {
    async fn credentials(&self) -> Result<Option<CloudKeys>, Source> {
        let value = |text: &str| SecretValue::new(text.to_owned());
        Ok(Some(CloudKeys {
            key_id: value(s3_server::KEY),
            secret: value("the-secret-of-the-role"),
            session_token: Some(value(s3_server::SESSION)),
        }))
    }
}

#[tokio::test]
async fn sql_reads_and_writes_s3_as_the_machines_role_whose_keys_nobody_sees() {
    let s3 = s3_server::start(b"a,b\n1,2\n");
    let fixture = Fixture::new();
    let sql = "SELECT a + b AS three FROM 's3://bucket/in.csv';\n\
               COPY (SELECT 42 AS answer) TO 's3://bucket/out.csv';\n\
               SELECT getenv('AWS_SECRET_ACCESS_KEY') AS leaked;\n";
    let mut request = request(&fixture, "workflow.sql", sql);
    let job = Arc::make_mut(&mut request.job);
    job.env.insert("AWS_ENDPOINT_URL_S3".to_owned(), s3.clone());
    job.env.insert("AWS_REGION".to_owned(), "eu-west-1".to_owned());
    let runner = Runner::new(shims(), RunOptions::default());
    let duckdb = DuckdbExecutor::new("duckdb".parse().unwrap(), runner, environments())
        .with_credentials(Arc::new(Role));
    let outcome = run(&duckdb, request).await;
    assert_eq!(outcome.end.ending, Ending::Exited { code: 0 }, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("three") && outcome.stdout.contains("***"), "{}", outcome.stdout);
    assert!(!outcome.stdout.contains("Success") && !outcome.stdout.contains("the-secret-of-the-role"));
    assert!(!format!("{:?}", outcome.command).contains("the-secret-of-the-role"));
    assert_eq!(s3_server::object("/bucket/out.csv").as_deref(), Some(&b"answer\n42\n"[..]));
}

#[tokio::test]
async fn polars_reads_and_writes_s3_as_the_role_that_it_finds_by_itself() {
    let s3 = s3_server::start(b"a,b\n1,2\n");
    let fixture = Fixture::new();
    let script = "import polars as pl\n\
                  print(pl.read_csv('s3://bucket/in.csv')['b'].sum())\n\
                  pl.DataFrame({'a': [7]}).write_parquet('s3://bucket/out.parquet')\n\
                  print(pl.read_parquet('s3://bucket/out.parquet')['a'].sum())\n";
    let mut request = request(&fixture, "workflow.py", script);
    let job = Arc::make_mut(&mut request.job);
    job.env.insert("AWS_ENDPOINT_URL".to_owned(), s3.clone());
    job.env.insert("AWS_EC2_METADATA_SERVICE_ENDPOINT".to_owned(), s3);
    job.env.insert("AWS_REGION".to_owned(), "eu-west-1".to_owned());
    let outcome = run(polars().as_ref(), request).await;
    assert_eq!(outcome.end.ending, Ending::Exited { code: 0 }, "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "2\n7\n");
}

#[tokio::test]
async fn sql_runs_every_statement_with_its_typed_parameters() {
    let fixture = Fixture::new();
    let sql = "CREATE TABLE t AS SELECT getvariable('day') AS day, getvariable('name') AS name;\n\
               INSERT INTO t SELECT DATE '2026-08-02', 'b';\n\
               SELECT typeof(day) AS kind, day, name FROM t ORDER BY day;\n\
               COPY (SELECT count(*) AS rows FROM t) TO 'out.json';\n";
    let mut request = request(&fixture, "workflow.sql", sql);
    let job = Arc::make_mut(&mut request.job);
    job.params.insert("day".to_owned(), ParamValue::Date("2026-08-01".parse().unwrap()));
    job.params.insert("name".to_owned(), ParamValue::String("it's".to_owned()));
    let out = request.working_directory().join("out.json");
    let outcome = run(duckdb().as_ref(), request).await;
    assert_eq!(outcome.end.ending, Ending::Exited { code: 0 }, "{}", outcome.stderr);
    let cells: Vec<Vec<&str>> = outcome
        .stdout
        .lines()
        .filter(|line| line.starts_with('│'))
        .map(|line| line.split('│').map(str::trim).filter(|cell| !cell.is_empty()).collect())
        .collect();
    assert_eq!(cells, [["kind", "day", "name"], ["DATE", "2026-08-01", "it's"], ["DATE", "2026-08-02", "b"]]);
    assert_eq!(fs::read_to_string(out).unwrap().trim(), r#"{"rows":2}"#);
    assert!(outcome.notes.iter().any(|note| note == "DuckDB 1.5.5"), "{:?}", outcome.notes);
}

#[tokio::test]
async fn every_statement_is_told_of_with_its_rows_bytes_and_time_and_the_last_result_is_shown() {
    let fixture = Fixture::new();
    let sql = "CREATE TABLE t AS SELECT range AS i, 'é' AS s FROM range(1000);\n\
               COPY t TO 'out.parquet';\n\
               SET threads = 1;\n\
               DELETE FROM t WHERE i < 10;\n\
               SELECT s, count(*) AS n FROM 'out.parquet' GROUP BY s;\n\
               SELECT range AS i FROM range(30);\n\
               .print that was all\n";
    let outcome = run(duckdb().as_ref(), request(&fixture, "workflow.sql", sql)).await;
    assert_eq!(outcome.end.ending, Ending::Exited { code: 0 }, "{}", outcome.stderr);
    assert_eq!(outcome.stderr, "");
    assert!(outcome.stdout.ends_with("│ 29 │\n└────┘\nthat was all\n"), "{}", outcome.stdout);
    let told = outcome.end.sql.unwrap();
    let statements: Vec<_> = told.statements.iter().map(|it| (it.text.as_str(), it.rows)).collect();
    let expected = [
        ("CREATE TABLE t AS SELECT range AS i, 'é' AS s FROM range(1000);", 1000),
        ("COPY t TO 'out.parquet';", 1000),
        ("DELETE FROM t WHERE i < 10;", 10),
        ("SELECT s, count(*) AS n FROM 'out.parquet' GROUP BY s;", 1),
        ("SELECT range AS i FROM range(30);", 30),
    ];
    assert_eq!(statements, expected);
    let grouping = &told.statements[3];
    assert_eq!(grouping.rows_read, 1000);
    assert!(grouping.bytes_read > 0 && grouping.result_bytes > 0 && !grouping.took.is_zero(), "{grouping:?}");
    assert!(grouping.took < outcome.end.ran_for, "{grouping:?}");
    let preview = told.preview.unwrap();
    assert!(preview.cut && preview.text.contains("│ 19 │\n└────┘\n"), "{}", preview.text);
    assert!(preview.text.starts_with("┌────┐\n│ i  │\n"), "{}", preview.text);
}

#[tokio::test]
async fn a_script_that_fails_tells_of_the_statements_before() {
    let fixture = Fixture::new();
    let sql = "SELECT 1 AS one;\nSELECT nonsense;\nSELECT 3;\n";
    let outcome = run(duckdb().as_ref(), request(&fixture, "workflow.sql", sql)).await;
    assert_eq!(outcome.end.ending, Ending::Exited { code: 1 });
    let told = outcome.end.sql.unwrap();
    assert_eq!(told.statements.iter().map(|it| it.text.as_str()).collect::<Vec<_>>(), ["SELECT 1 AS one;"]);
    assert!(told.preview.unwrap().text.contains("│ one │"));
}

#[tokio::test]
async fn sql_that_looks_at_profiles_itself_or_shuts_files_off_prints_what_it_would_without_us() {
    for sql in [
        "PRAGMA enable_profiling = 'json';\nSET profiling_output = 'mine.json';\nSELECT 42 AS x;\n",
        "SET enable_profiling = 'query_tree';\nSELECT 42 AS x;\nPRAGMA disable_profiling;\nSELECT 1;\n",
        "EXPLAIN ANALYZE SELECT 42 AS x;\n",
        ".read mine.sql\n",
        "SET enable_external_access = false;\nSELECT 42 AS x;\n",
        "SET disabled_filesystems = 'LocalFileSystem';\nSELECT 42 AS x;\n",
        ".safe_mode\nSELECT 42 AS x;\n",
    ] {
        let fixture = Fixture::new();
        let request = request(&fixture, "workflow.sql", sql);
        let folder = request.working_directory();
        fs::write(folder.join("mine.sql"), "EXPLAIN ANALYZE SELECT 42;\n").unwrap();
        let outcome = run(duckdb().as_ref(), request).await;
        assert_eq!(outcome.end.ending, Ending::Exited { code: 0 }, "{sql}{}", outcome.stderr);
        let mut plain = std::process::Command::new(&outcome.command[0]);
        plain.args(["-init", "/dev/null", "-batch", "-bail", "-box", "-f", "workflow.sql"]);
        let plain = plain.current_dir(&folder).output().unwrap();
        // Times differ from run to run, the words do not.
        let words = |text: &str| text.chars().filter(|c| c.is_alphabetic()).collect::<String>();
        assert_eq!(words(&outcome.stdout), words(&String::from_utf8(plain.stdout).unwrap()), "{sql}");
        assert!(outcome.notes.iter().any(|note| note.contains("not profiled")), "{:?}", outcome.notes);
        assert!(outcome.end.sql.is_none_or(|told| told.statements.is_empty()), "{sql}");
    }
}

#[tokio::test]
async fn secrets_are_masked_in_statements_and_in_the_preview() {
    let fixture = Fixture::new();
    let request = request(&fixture, "workflow.sql", "SELECT 'swordfish' AS s, getenv('PASSWORD') AS t;");
    let executor = duckdb();
    let mut prepared = prepare(executor.as_ref(), &request).await.unwrap();
    prepared.secrets.insert("PASSWORD".to_owned(), SecretValue::new("swordfish".to_owned()));
    let job = executor.start(Arc::new(request), prepared).await.unwrap();
    let (_, end) = follow(job.as_ref()).await;
    let told = end.sql.unwrap();
    assert_eq!(told.statements[0].text, "SELECT '***' AS s, getenv('PASSWORD') AS t;");
    let preview = told.preview.unwrap().text;
    assert!(preview.contains("***") && !preview.contains("swordfish"), "{preview}");
}

#[tokio::test]
async fn what_a_query_spills_and_what_its_files_take_is_measured() {
    let fixture = Fixture::new();
    let sql = "SET memory_limit = '80MB';\n\
               CREATE TABLE b AS SELECT range AS i, md5(range::VARCHAR) AS s FROM range(3000000);\n\
               COPY b TO 'out.parquet';\n";
    let outcome = run(duckdb().as_ref(), request(&fixture, "workflow.sql", sql)).await;
    assert_eq!(outcome.end.ending, Ending::Exited { code: 0 }, "{}", outcome.stderr);
    let usage = outcome.end.usage;
    assert!(usage.peak_spill_bytes.unwrap() > 1 << 20, "{usage:?}");
    assert!(usage.peak_folder_bytes.unwrap() > 10 << 20, "{usage:?}");
    assert!(usage.storage.unwrap().written > 10 << 20, "{usage:?}");
    assert_eq!(usage.network, None, "others may use the machine's network");
}

#[tokio::test]
async fn what_polars_spills_is_told_where_it_was_seen_and_unknown_where_it_was_not() {
    let fixture = Fixture::new();
    // As Polars does, but for as long as it takes to be seen.
    let script = "import os\n\
                  folder = os.environ['POLARS_OOC_SPILL_DIR']\n\
                  os.makedirs(folder)\n\
                  open(folder + '/frame', 'wb').write(bytes(3 << 20))\n";
    let spilling = run(polars().as_ref(), request(&fixture, "workflow.py", script)).await;
    assert_eq!(spilling.end.ending, Ending::Exited { code: 0 }, "{}", spilling.stderr);
    assert!(spilling.end.usage.peak_spill_bytes.unwrap() >= 3 << 20, "{:?}", spilling.end.usage);
    let other = Fixture::new();
    let quiet = run(polars().as_ref(), request(&other, "workflow.py", "print(1)\n")).await;
    assert_eq!(quiet.end.usage.peak_spill_bytes, None, "none was seen, which is not none");
    assert_eq!(quiet.end.sql, None);
}

/// Bytes that the machine's interfaces received and sent since its start, but for the one to itself.
fn carried() -> u64 {
    let text = fs::read_to_string("/proc/net/dev").unwrap();
    let lines = text.lines().skip(2).filter_map(|line| line.split_once(':'));
    let others = lines.filter(|(name, _)| name.trim() != "lo");
    let numbers = others.map(|(_, numbers)| numbers.split_whitespace().collect::<Vec<_>>());
    numbers.flat_map(|numbers| [numbers[0], numbers[8]].map(|it| it.parse::<u64>().unwrap())).sum()
}

#[tokio::test]
async fn the_network_is_the_jobs_where_it_has_the_machine_to_itself() {
    let fixture = Fixture::new();
    let options = RunOptions { alone_on_machine: true, ..RunOptions::default() };
    let runner = Runner::new(shims(), options);
    let duckdb = DuckdbExecutor::new("duckdb".parse().unwrap(), runner, environments());
    let before = carried();
    let outcome = run(&duckdb, request(&fixture, "workflow.sql", "SELECT 1;")).await;
    let counted = outcome.end.usage.network.unwrap();
    assert!(counted.received + counted.sent <= carried() - before, "{counted:?}");
}

#[tokio::test]
async fn wrong_sql_stops_at_its_first_error_and_says_what_duckdb_says() {
    let fixture = Fixture::new();
    let sql = "SELECT 1 AS first;\nSELECT * FROM no_such_table;\nSELECT 3 AS third;\n";
    let outcome = run(duckdb().as_ref(), request(&fixture, "workflow.sql", sql)).await;
    assert_eq!(outcome.end.ending, Ending::Exited { code: 1 });
    assert!(outcome.stdout.contains("first") && !outcome.stdout.contains("third"), "{}", outcome.stdout);
    assert!(outcome.stderr.contains("Catalog Error: Table with name no_such_table"), "{}", outcome.stderr);
}

#[tokio::test]
async fn the_log_is_byte_for_byte_what_the_same_command_prints() {
    let fixture = Fixture::new();
    let sql = "SELECT i, 'é' AS text FROM range(3) t(i);\nSELECT 1/0;\nSELECT nonsense;\n";
    let request = request(&fixture, "workflow.sql", sql);
    let folder = request.working_directory();
    let outcome = run(duckdb().as_ref(), request).await;
    let mut direct = std::process::Command::new(&outcome.command[0]);
    let direct = direct.args(&outcome.command[1..]).current_dir(folder).output().unwrap();
    assert_eq!(outcome.stdout.as_bytes(), direct.stdout);
    assert_eq!(outcome.stderr.as_bytes(), direct.stderr);
}

#[tokio::test]
async fn sql_that_needs_more_memory_than_it_may_have_is_out_of_memory() {
    let fixture = Fixture::new();
    let sql = "SET max_temp_directory_size = '0KB';\nCREATE TABLE t AS SELECT range::VARCHAR || repeat('x', 100) AS a \
               FROM range(20000000);\n";
    let mut request = request(&fixture, "workflow.sql", sql);
    let limit = 128 << 20;
    Arc::make_mut(&mut request.job).resources = Resources { memory_bytes: limit, cpus: 1 };
    let outcome = run(duckdb().as_ref(), request).await;
    assert_eq!(outcome.end.ending, Ending::OutOfMemory { limit_bytes: Some(limit) }, "{}", outcome.stderr);
}

#[tokio::test]
async fn a_duckdb_of_another_version_is_the_newest_of_it() {
    let fixture = Fixture::new();
    let mut request = request(&fixture, "workflow.sql", "SELECT version() AS version;");
    Arc::make_mut(&mut request.job).dependencies.duckdb.version = Some("1.4".to_owned());
    let outcome = run(duckdb().as_ref(), request).await;
    assert!(outcome.stdout.contains("v1.4."), "{}{}", outcome.stdout, outcome.stderr);
    assert!(outcome.notes.iter().any(|note| note.starts_with("DuckDB 1.4.")), "{:?}", outcome.notes);
    let packages = outcome.packages.unwrap();
    assert!(packages.version_of("duckdb-cli").unwrap().starts_with("1.4."), "{packages:?}");
    assert_eq!(packages.python(), None);

    // Another attempt has the same, whatever the newest is by then.
    let mut again = self::request(&fixture, "workflow.sql", "SELECT version() AS version;");
    Arc::make_mut(&mut again.job).packages = PackageChoice::Lock(Arc::clone(&packages));
    let prepared = prepare(duckdb().as_ref(), &again).await.unwrap();
    assert_eq!(prepared.packages, Some(packages));
}

#[tokio::test]
async fn httpfs_is_loaded_where_it_is_asked_for() {
    let fixture = Fixture::new();
    let sql = "SELECT extension_name FROM duckdb_extensions() WHERE loaded AND extension_name = 'httpfs';";
    let mut request = request(&fixture, "workflow.sql", sql);
    Arc::make_mut(&mut request.job).dependencies.duckdb.extensions = vec!["httpfs".to_owned()];
    let outcome = run(duckdb().as_ref(), request).await;
    assert_eq!(outcome.end.ending, Ending::Exited { code: 0 }, "{}", outcome.stderr);
    assert!(outcome.stdout.contains("│ httpfs"), "{}", outcome.stdout);
}

#[tokio::test]
async fn an_sql_script_that_is_a_folder_fails_before_it_runs() {
    let fixture = Fixture::new();
    let mut request = fixture.empty_request();
    Arc::make_mut(&mut request.job).entrypoint = "queries".to_owned();
    fs::create_dir(request.working_directory().join("queries")).unwrap();
    match prepare(duckdb().as_ref(), &request).await {
        Err(ExecuteError::Failed(failure)) => assert_eq!(failure.cause, FailureCause::Source),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn python_has_polars_and_what_the_bundle_includes() {
    let fixture = Fixture::new();
    let script = "import json, os, polars as pl, shared\n\
                  frame = pl.DataFrame({'n': [1, 2, 3]})\n\
                  total = frame.select(pl.col('n').sum()).item()\n\
                  print('total', total, shared.NAME, pl.thread_pool_size())\n\
                  json.dump({'total': total}, open(os.environ['DATA_RUNNER_OUTPUT'], 'w'))\n";
    let mut request = request(&fixture, "workflow.py", script);
    fs::create_dir(request.code().join("lib")).unwrap();
    fs::write(request.code().join("lib/shared.py"), "NAME = 'from lib'\n").unwrap();
    let job = Arc::make_mut(&mut request.job);
    job.python_path = vec!["lib".to_owned()];
    job.resources.cpus = 1;
    let outcome = run(polars().as_ref(), request).await;
    assert_eq!(outcome.end.ending, Ending::Exited { code: 0 }, "{}", outcome.stderr);
    assert_eq!(outcome.stdout, "total 6 from lib 1\n");
    assert_eq!(outcome.end.output.unwrap()["total"], 6);
    assert!(outcome.notes.iter().any(|note| note == "Polars 2.1.0"), "{:?}", outcome.notes);
}

#[tokio::test]
async fn an_exception_is_the_jobs_own_failure() {
    let fixture = Fixture::new();
    let script = "import sys\nprint('before')\nraise ValueError('no such column')\n";
    let outcome = run(polars().as_ref(), request(&fixture, "workflow.py", script)).await;
    assert_eq!(outcome.end.ending, Ending::Exited { code: 1 });
    assert_eq!(outcome.stdout, "before\n");
    assert!(outcome.stderr.ends_with("ValueError: no such column\n"), "{}", outcome.stderr);
}

#[tokio::test]
async fn a_list_of_requirements_comes_beside_polars_and_is_locked_once() {
    let fixture = Fixture::new();
    let script = "import humanize, polars\nprint(humanize.intcomma(1234567))\n";
    let mut request = request(&fixture, "workflow.py", script);
    Arc::make_mut(&mut request.job).dependencies.requirements =
        PythonDependency::List(vec!["humanize".to_owned()]);
    let executor = polars();
    let first = prepare(executor.as_ref(), &request).await.unwrap();
    let again = prepare(executor.as_ref(), &request).await.unwrap();
    assert_eq!(first, again);
    assert!(first.notes.iter().any(|note| note.starts_with("lock sha256:")), "{:?}", first.notes);
    let outcome = run(executor.as_ref(), request).await;
    assert_eq!(outcome.stdout, "1,234,567\n", "{}", outcome.stderr);
}

#[tokio::test]
async fn a_scripts_own_block_wins_over_the_configuration() {
    let fixture = Fixture::new();
    let script = "# /// script\n# requires-python = \">=3.11\"\n# dependencies = [\"humanize==4.9.0\"]\n# ///\n\
                  import importlib.util, humanize\n\
                  print(humanize.__version__, importlib.util.find_spec('polars'))\n";
    let mut request = request(&fixture, "workflow.py", script);
    Arc::make_mut(&mut request.job).dependencies.requirements =
        PythonDependency::List(vec!["no-such-package-at-all".to_owned()]);
    let outcome = run(polars().as_ref(), request).await;
    assert_eq!(outcome.stdout, "4.9.0 None\n", "{}", outcome.stderr);
}

#[tokio::test]
async fn a_package_that_does_not_exist_is_a_failure_of_the_environment() {
    let fixture = Fixture::new();
    let mut request = request(&fixture, "workflow.py", "print(1)\n");
    Arc::make_mut(&mut request.job).dependencies.requirements =
        PythonDependency::List(vec!["polars==0.0.0.999".to_owned()]);
    match prepare(polars().as_ref(), &request).await {
        Err(ExecuteError::Failed(failure)) => {
            assert_eq!(failure.cause, FailureCause::Environment);
            assert!(failure.message.contains("polars"), "{}", failure.message);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_python_that_the_worker_does_not_have_is_a_failure_with_a_hint() {
    let fixture = Fixture::new();
    let mut request = request(&fixture, "workflow.py", "print(1)\n");
    Arc::make_mut(&mut request.job).dependencies.python = Some("3.99".to_owned());
    match prepare(polars().as_ref(), &request).await {
        Err(ExecuteError::Failed(failure)) => {
            assert_eq!(failure.cause, FailureCause::Environment);
            assert!(failure.hint.unwrap().contains("python3.99"));
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn python_that_takes_more_memory_than_it_may_is_out_of_memory() {
    let fixture = Fixture::new();
    let script = "import polars as pl\nframes = []\n\
                  while True:\n    frames.append(pl.select(pl.int_range(0, 4_000_000)).to_series() + len(frames))\n";
    let mut request = request(&fixture, "workflow.py", script);
    let limit = 256 << 20;
    Arc::make_mut(&mut request.job).resources = Resources { memory_bytes: limit, cpus: 1 };
    let outcome = run(polars().as_ref(), request).await;
    assert_eq!(outcome.end.ending, Ending::OutOfMemory { limit_bytes: Some(limit) }, "{}", outcome.stderr);
}
