//! `secret`: whether the secrets of a workflow are there.

use data_runner_rest::api::{Checkup, Finding};

use super::context::Context;
use super::workflow::{address, unknown};
use crate::args::SecretCommand;
use crate::error::Error;
use crate::output::{say, style};

/// Looks for a workflow's secrets; 1 if one of them is missing, or may not be read.
pub async fn secret(command: &SecretCommand, context: &Context) -> Result<u8, Error> {
    let SecretCommand::Check { workflow } = command;
    let path = format!("{}/secrets", address(workflow));
    let found: Checkup = context.client.get(&path).await.map_err(unknown)?;
    if found.findings.is_empty() && context.output.is_table() {
        say("it has no secrets");
        return Ok(0);
    }
    let lines = |all: &[Finding]| all.iter().map(line).collect::<Vec<_>>().join("\n");
    context.output.many(&found.findings, |it| format!("{} {}", it.check, it.verdict), lines)?;
    Ok(u8::from(found.verdict == "bad"))
}

fn line(finding: &Finding) -> String {
    let mark = match finding.verdict.as_str() {
        "good" => style::good("ok  "),
        "bad" => style::error("bad "),
        _ => style::warn("warn"),
    };
    let line = format!("{mark}  {:<15}  {}", finding.check, finding.message);
    match &finding.help {
        Some(help) => format!("{line}\n      {:<15}  {help}", ""),
        None => line,
    }
}
