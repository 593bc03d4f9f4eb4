//! `doctor`: can this machine run Data Runner, and if not, what to do.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use data_runner_core::port::{Finding, Verdict};
use data_runner_rest::api::Checkup;
use jiff::Timestamp;
use reqwest::Method;
use reqwest::header::{DATE, HeaderMap};

use crate::args::DoctorArgs;
use crate::client::Client;
use crate::error::Error;
use crate::output::{Output, style, time};

/// A finding as a person reads it.
fn line(finding: &Finding) -> String {
    let mark = match finding.verdict {
        Verdict::Good => style::good("ok  "),
        Verdict::Warning => style::warn("warn"),
        Verdict::Bad => style::error("bad "),
    };
    let line = format!("{mark}  {:<15}  {}", finding.check, finding.message);
    match &finding.help {
        Some(help) => format!("{line}\n      {:<15}  {} {help}", "", style::help("do:")),
        None => line,
    }
}

/// Enough for two environments with Polars and some logs.
const WANTED_DISK: u64 = 2 << 30;
/// Above this, certificates and leases begin to disagree.
const TOLERATED_SKEW: Duration = Duration::from_secs(30);

/// Makes all checks; 1 if one of them is bad.
pub async fn doctor(args: &DoctorArgs, client: &Client, output: Output) -> Result<u8, Error> {
    let mut findings =
        vec![python(), package_installer("uv"), state_dir(&args.state_dir), disk(&args.state_dir)];
    let (reachable, server) = server(client).await;
    findings.extend(server);
    if !reachable {
        findings.extend([port("port 8080", 8080, "--listen"), port("port 7070", 7070, "--grpc-listen")]);
    }
    let lines = |all: &[Finding]| all.iter().map(line).collect::<Vec<_>>().join("\n");
    output.many(&findings, |finding| format!("{} {}", finding.check, finding.verdict.as_str()), lines)?;
    Ok(u8::from(findings.iter().any(|finding| finding.verdict == Verdict::Bad)))
}

fn python() -> Finding {
    const PROBE: &str = "import sys, venv, ensurepip; print('%d.%d.%d' % sys.version_info[:3])";
    const HELP: &str =
        "install Python 3.11 or newer with venv (Debian and Ubuntu: apt install python3 python3-venv)";
    let output = match Command::new("python3").args(["-c", PROBE]).output() {
        Ok(output) => output,
        Err(error) => return Finding::bad("python", format!("cannot run python3: {error}"), HELP),
    };
    if !output.status.success() {
        let message = String::from_utf8_lossy(&output.stderr);
        let last = message.lines().last().unwrap_or("it fails").to_owned();
        return Finding::bad("python", format!("python3 has no venv: {last}"), HELP);
    }
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let mut numbers = version.split('.').filter_map(|number| number.parse::<u32>().ok());
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) if (major, minor) >= (3, 11) => {
            Finding::good("python", format!("python3 is {version}, with venv"))
        }
        _ => Finding::bad("python", format!("python3 is {version}; Polars needs 3.11"), HELP),
    }
}

fn package_installer(program: &str) -> Finding {
    match Command::new(program).arg("--version").output() {
        Ok(output) if output.status.success() => {
            Finding::good("uv", String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(_) | Err(_) => Finding::good(
            "uv",
            "not installed; an agent fetches one of its own when a workflow first needs it",
        ),
    }
}

fn state_dir(path: &Path) -> Finding {
    let existing = nearest_existing(path);
    let probe = existing.join(format!(".data-runner-doctor-{}", std::process::id()));
    match std::fs::write(&probe, b"") {
        Ok(()) => match std::fs::remove_file(&probe) {
            Ok(()) => Finding::good("state directory", format!("{} can be written", path.display())),
            Err(error) => Finding::warning(
                "state directory",
                format!("{} cannot be removed: {error}", probe.display()),
                "remove it by hand and look at the directory's rights",
            ),
        },
        Err(error) => Finding::bad(
            "state directory",
            format!("{} cannot be written: {error}", existing.display()),
            "choose another one with --state-dir, or mend its rights",
        ),
    }
}

fn disk(path: &Path) -> Finding {
    match rustix::fs::statvfs(nearest_existing(path)) {
        Ok(status) => {
            let free = status.f_bavail.saturating_mul(status.f_frsize);
            let message = format!("{} free", time::bytes(free));
            if free >= WANTED_DISK {
                Finding::good("disk", message)
            } else {
                Finding::bad(
                    "disk",
                    message,
                    "free some space: environments, logs and results want at least 2 GiB",
                )
            }
        }
        Err(error) => Finding::warning("disk", format!("cannot be measured: {error}"), "look with `df -h`"),
    }
}

fn nearest_existing(path: &Path) -> &Path {
    let found = path.ancestors().find(|ancestor| ancestor.exists() && !ancestor.as_os_str().is_empty());
    found.unwrap_or(Path::new("."))
}

fn port(check: &str, port: u16, flag: &str) -> Finding {
    match TcpListener::bind(("127.0.0.1", port)) {
        Ok(_) => Finding::good(check, "free"),
        Err(error) => Finding::warning(
            check,
            format!("cannot be taken: {error}"),
            format!("give another to `data-runner dev` with {flag} 127.0.0.1:0, or end what listens there"),
        ),
    }
}

/// Whether a server answers, and what it and its clock say.
async fn server(client: &Client) -> (bool, Vec<Finding>) {
    let timeout = Some(Duration::from_secs(3));
    let answer = match client.send(Method::GET, "/version", HeaderMap::new(), None, timeout).await {
        Ok(answer) => answer,
        Err(Error::Server(refusal)) if refusal.status() == 401 => {
            let message = format!("{} answers, but: {refusal}", client.server());
            let help = refusal.help().unwrap_or_default();
            return (true, vec![Finding::bad("server", message, help)]);
        }
        Err(error @ Error::Server(_)) => {
            let message = format!("{} answers, but: {error}", client.server());
            return (true, vec![Finding::warning("server", message, "is it a Data Runner server?")]);
        }
        Err(_) => {
            let message = format!("none at {} (`data-runner dev` starts one)", client.server());
            return (false, vec![Finding::good("server", message)]);
        }
    };
    let date = answer.headers().get(DATE).and_then(|value| value.to_str().ok()).map(ToOwned::to_owned);
    let body: serde_json::Value = answer.json().await.unwrap_or_default();
    let theirs = body.get("version").and_then(|version| version.as_str()).unwrap_or("unknown");
    let ours = env!("CARGO_PKG_VERSION");
    let message = format!("{} answers, version {theirs}", client.server());
    let server = if theirs == ours {
        Finding::good("server", message)
    } else {
        Finding::warning(
            "server",
            message,
            format!("this command is version {ours}; use the same on both sides"),
        )
    };
    let mut findings: Vec<Finding> =
        [Some(server), date.map(|date| clock(&date))].into_iter().flatten().collect();
    findings.extend(of_server(client).await);
    (true, findings)
}

/// What the server finds of its own host and cloud.
async fn of_server(client: &Client) -> Vec<Finding> {
    let checkup: Checkup = match client.get("/doctor").await {
        Ok(checkup) => checkup,
        Err(Error::Server(refusal)) if refusal.status() == 403 => {
            let help = "use a token of the scope admin to have it check its host and its cloud";
            return vec![Finding::warning("server's checks", refusal.to_string(), help)];
        }
        Err(error) => {
            let help = "look at the server's diagnostics; is it of the same version?";
            return vec![Finding::warning("server's checks", format!("cannot be had: {error}"), help)];
        }
    };
    let verdict = |name: &str| match name {
        "good" => Verdict::Good,
        "bad" => Verdict::Bad,
        _ => Verdict::Warning,
    };
    let found = checkup.findings.into_iter().map(|it| Finding {
        check: it.check,
        verdict: verdict(&it.verdict),
        message: format!("server: {}", it.message),
        help: it.help,
    });
    found.collect()
}

fn clock(date: &str) -> Finding {
    let Ok(theirs) = jiff::fmt::rfc2822::parse(date).map(|zoned| zoned.timestamp()) else {
        return Finding::warning(
            "clock",
            format!("the server says {date:?}"),
            "it should send a valid Date header",
        );
    };
    let skew = Timestamp::now().duration_since(theirs).unsigned_abs();
    let message = format!("{} apart from the server's", time::duration(skew));
    if skew <= TOLERATED_SKEW {
        Finding::good("clock", message)
    } else {
        Finding::warning("clock", message, "let both machines take their time from NTP")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_uv_it_says_what_the_agent_does_about_it() {
        let finding = package_installer("a-program-that-is-not-there");
        assert_eq!(
            finding.message,
            "not installed; an agent fetches one of its own when a workflow first needs it"
        );
        assert_eq!(finding.verdict, Verdict::Good);
    }
}
