//! `doctor`: is everything there that the settings need? Also before the first start, and while a supervisor runs.

use std::process::ExitCode;

use anyhow::Result;
use data_runner_core::port::{Checkup as _, Finding, Verdict};
use data_runner_core::settings::Settings;
use data_runner_server::{Cloud as _, HostCheckup, existing_tokens};

use crate::ec2::Ec2;

/// Makes all checks and prints them; fails if one of them is bad.
pub async fn perform(settings: &Settings) -> Result<ExitCode> {
    let tokens = existing_tokens(settings).await?;
    let mut findings = HostCheckup::new(settings.clone(), tokens).check().await;
    if let Some(cloud) = Ec2.checkup(settings).await {
        findings.extend(cloud.check().await);
    }
    for finding in &findings {
        println!("{}", line(finding));
    }
    let bad = findings.iter().any(|finding| finding.verdict == Verdict::Bad);
    Ok(if bad { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn line(finding: &Finding) -> String {
    let mark = match finding.verdict {
        Verdict::Good => "ok  ",
        Verdict::Warning => "warn",
        Verdict::Bad => "bad ",
    };
    let line = format!("{mark}  {:<15}  {}", finding.check, finding.message);
    match &finding.help {
        Some(help) => format!("{line}\n      {:<15}  do: {help}", ""),
        None => line,
    }
}
