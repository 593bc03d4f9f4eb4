//! EC2 as LocalStack imitates it: the provisioner's contract and a whole supervisor against an endpoint that is not ours.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde::Deserialize;

use crate::command::{build_folder, cargo, output, root, run};
use crate::tests::{programs, totals};
use crate::watch;

/// How long LocalStack may take to start. It takes two seconds on a quiet machine.
const START: Duration = Duration::from_secs(120);
/// What tells the contract to skip what needs idempotent launches; in `data-runner-aws/tests/ec2_contract.rs`.
const LACKS: &str = "DATA_RUNNER_ENDPOINT_LACKS";
/// Needs answers that are lost on the way, and has a mock of its own for that.
const NOT_OF_ENDPOINTS: &str = "an_answer_that_is_lost_makes_no_second_machine";

/// What `tests/localstack/probe.py` found.
#[derive(Deserialize)]
struct Found {
    what: String,
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    name: String,
    has: bool,
    seen: String,
}

/// How to run it.
#[derive(clap::Args)]
pub struct LocalStackArgs {
    /// Where LocalStack cannot be installed or started, says so and fails nothing.
    #[arg(long)]
    if_possible: bool,
    /// Also writes the closing line to this file.
    #[arg(long)]
    closing: Option<PathBuf>,
}

/// Installs LocalStack, runs it, and lets the tests run against it that can run against any endpoint. What it lacks is
/// printed, and is no failure.
pub fn check(args: &LocalStackArgs) -> anyhow::Result<()> {
    programs()?;
    let folder = build_folder().join("localstack");
    let started = environment(&folder).and_then(|python| {
        let server = LocalStack::start(&python, &folder)?;
        Ok((python, server))
    });
    let (python, server) = match started {
        Ok(started) => started,
        Err(error) if args.if_possible => {
            return close(args, &format!("skipped, LocalStack cannot run here: {error:#}"));
        }
        Err(error) => return Err(error),
    };
    let probe = root().join("tests/localstack/probe.py");
    let said = output(Command::new(&python).arg(probe).arg(&server.endpoint))?;
    let found: Found = serde_json::from_str(&said).context("the probe printed something else")?;

    let mut tests = cargo();
    tests.args(watch::as_runner()?);
    // With the features of all other tests, so that nothing is compiled twice.
    tests.args(["test", "--workspace", "--all-features", "--no-fail-fast"]);
    tests.args(["--test", "ec2_contract", "--test", "aws_endpoint", "--", "--skip", NOT_OF_ENDPOINTS]);
    for (name, value) in server.variables() {
        tests.env(name, value);
    }
    let idempotent =
        found.findings.iter().any(|finding| finding.name == "idempotent launches" && finding.has);
    tests.env(LACKS, if idempotent { "" } else { "idempotent-launches" });
    let totals = totals(tests)?;
    drop(server);
    println!("\n{}", table(&found));
    println!("not asked of an endpoint: {NOT_OF_ENDPOINTS}");
    close(args, &format!("at LocalStack:\n{totals}"))?;
    if !totals.is_good() {
        bail!("not all tests passed at LocalStack");
    }
    Ok(())
}

/// Says how it ended.
fn close(args: &LocalStackArgs, closing: &str) -> anyhow::Result<()> {
    println!("{closing}");
    match &args.closing {
        Some(file) => std::fs::write(file, format!("{closing}\n"))
            .with_context(|| format!("cannot write {}", file.display())),
        None => Ok(()),
    }
}

/// What is there, and what is lacking.
fn table(found: &Found) -> String {
    let mut lines = vec![format!("{}:", found.what)];
    let width = found.findings.iter().map(|finding| finding.name.len()).max().unwrap_or_default();
    for finding in &found.findings {
        let has = if finding.has { "has  " } else { "lacks" };
        lines.push(format!("  {has} {:width$}  {}", finding.name, shortened(&finding.seen)));
    }
    lines.join("\n")
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 150;
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

/// The Python of an environment with LocalStack, made if it is not there.
fn environment(folder: &Path) -> anyhow::Result<PathBuf> {
    let requirements = root().join("tests/localstack/requirements.txt");
    let wanted = std::fs::read_to_string(&requirements).context("cannot read what LocalStack needs")?;
    let (environment, installed) = (folder.join("python"), folder.join("installed.txt"));
    let python = environment.join("bin/python");
    if python.exists() && std::fs::read_to_string(&installed).is_ok_and(|found| found == wanted) {
        return Ok(python);
    }
    run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))?;
    run(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--requirement"]).arg(requirements))?;
    std::fs::write(&installed, wanted).with_context(|| format!("cannot write {}", installed.display()))?;
    Ok(python)
}

/// A LocalStack that runs, and is killed when it is dropped.
struct LocalStack {
    child: Child,
    endpoint: String,
}

impl LocalStack {
    fn start(python: &Path, folder: &Path) -> anyhow::Result<Self> {
        let port = free_port()?;
        let (files, log) = (folder.join("files"), folder.join("localstack.log"));
        let temporary = files.join("tmp");
        std::fs::create_dir_all(&temporary)
            .with_context(|| format!("cannot make {}", temporary.display()))?;
        let said = std::fs::File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = Command::new(python);
        command.args(["-m", "localstack.runtime.main"]).env("GATEWAY_LISTEN", format!("127.0.0.1:{port}"));
        // Files only here, no name server, and nothing from or to its makers.
        command.env("OVERRIDE_IN_DOCKER", "0").env("FILESYSTEM_ROOT", &files).env("TMPDIR", &temporary);
        command.env("DNS_ADDRESS", "0").env("DISABLE_EVENTS", "1").env("SKIP_SSL_CERT_DOWNLOAD", "1");
        command.stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().with_context(|| format!("cannot start {}", python.display()))?;
        let mut this = Self { child, endpoint: format!("http://127.0.0.1:{port}") };
        this.wait(&log)?;
        Ok(this)
    }

    fn wait(&mut self, log: &Path) -> anyhow::Result<()> {
        let began = Instant::now();
        let address = self.endpoint.trim_start_matches("http://").to_owned();
        // It listens when it is ready.
        while std::net::TcpStream::connect(&address).is_err() {
            if let Some(status) = self.child.try_wait().context("cannot wait for LocalStack")? {
                bail!("LocalStack ended with {status}; what it said is in {}", log.display());
            }
            if began.elapsed() > START {
                bail!("LocalStack did not start within {START:?}; what it said is in {}", log.display());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        eprintln!("LocalStack is there after {:.1} s", began.elapsed().as_secs_f64());
        Ok(())
    }

    /// What programs need to talk to it.
    fn variables(&self) -> [(&'static str, &str); 5] {
        [
            ("AWS_ENDPOINT_URL", &self.endpoint),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "AKIATEST"),
            ("AWS_SECRET_ACCESS_KEY", "a secret"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ]
    }
}

impl Drop for LocalStack {
    fn drop(&mut self) {
        // It keeps nothing that would want an orderly end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").context("cannot find a free port")?;
    Ok(listener.local_addr().context("cannot find a free port")?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lacking_is_told_with_what_was_seen() {
        let finding =
            |name: &str, has, seen: &str| Finding { name: name.to_owned(), has, seen: seen.to_owned() };
        let findings = vec![finding("S3", false, &"e".repeat(160)), finding("tokens", true, "one instance")];
        let found = Found { what: "An imitation".to_owned(), findings };
        let cut = "e".repeat(150);
        let expected = format!("An imitation:\n  lacks S3      {cut} …\n  has   tokens  one instance");
        assert_eq!(table(&found), expected);
    }
}
