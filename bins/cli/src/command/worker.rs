//! `worker`: the agents that run workflows.

use std::fmt::Write as _;

use anstyle::{AnsiColor, Style};
use data_runner_core::worker::WorkerStateName;
use data_runner_rest::api::{Cost, Repeat, Worker};
use jiff::Timestamp;
use reqwest::Method;

use super::context::Context;
use crate::args::WorkerCommand;
use crate::error::Error;
use crate::output::{Field, Table, cut, money, names, say, style, time, whole};

/// Does what was asked about workers.
pub async fn worker(command: &WorkerCommand, context: &Context) -> Result<u8, Error> {
    match command {
        WorkerCommand::List { all } => {
            let mut workers: Vec<Worker> = context.list("/workers", &[], u32::MAX).await?;
            workers.retain(|worker| *all || worker.state != WorkerStateName::Terminated);
            if workers.is_empty() && context.output.is_table() {
                say("no worker; they start with the first run");
                return Ok(0);
            }
            let draw =
                |all: &[Worker]| context.output.draw(&table(all, context.output.width, Timestamp::now()));
            context.output.many(&workers, |worker| worker.id.to_string(), draw)?;
        }
        WorkerCommand::Show { worker } => {
            let worker = find(context, worker).await?;
            context.output.one(&worker, |it| it.id.to_string(), |it| page(it, Timestamp::now()))?;
        }
        WorkerCommand::Drain { worker } => {
            let worker = find(context, worker).await?;
            let path = format!("/workers/{}/drain", worker.id);
            let worker: Worker = context.client.post(&path, &Repeat {}, None).await?;
            context.output.one(&worker, |it| it.id.to_string(), |it| format!("{} is {}", it.id, it.state))?;
        }
        WorkerCommand::Terminate { worker } => {
            let worker = find(context, worker).await?;
            let path = format!("/workers/{}", worker.id);
            let worker: Worker = context.client.call(Method::DELETE, &path, None).await?;
            context.output.one(&worker, |it| it.id.to_string(), |it| format!("{} is {}", it.id, it.state))?;
        }
    }
    Ok(0)
}

/// The worker that a person means by an id or a prefix of it.
async fn find(context: &Context, given: &str) -> Result<Worker, Error> {
    let workers: Vec<Worker> = context.list("/workers", &[], u32::MAX).await?;
    let help = "`data-runner worker list` shows them";
    let mut matching = workers.into_iter().filter(|worker| worker.id.to_string().starts_with(given));
    match (matching.next(), matching.next()) {
        (Some(only), None) => Ok(only),
        (Some(_), Some(_)) => {
            Err(Error::usage(format!("more than one worker's id starts with {given}"), help))
        }
        (None, _) => Err(Error::not_found(format!("there is no worker {given}"), help)),
    }
}

fn table(workers: &[Worker], width: Option<u16>, now: Timestamp) -> Table {
    let ids = names::ids(workers.iter().map(|worker| worker.id), width);
    let priced = workers.iter().any(|worker| worker.price_per_hour.is_some());
    let mut columns = vec![whole("ID"), whole("STATE"), whole("RUNS"), whole("SINCE"), whole("TYPES")];
    if priced {
        columns.extend([whole("MACHINE"), whole("PER HOUR"), whole("COST")]);
    }
    columns.push(cut("NOTE"));
    let mut table = Table::new(columns);
    for (worker, id) in workers.iter().zip(ids) {
        // The name of a process of this machine is the worker's id again.
        let machine = worker.machine_id.clone().filter(|name| !name.contains(&worker.id.to_string()));
        let note = worker.reason.clone().or(machine).unwrap_or_default();
        let mut fields = vec![
            Field::new(id),
            Field::coloured(worker.state.as_str(), colour(worker.state)),
            Field::new(format!("{}/{}", worker.executions.len(), worker.slots)),
            Field::new(time::ago(worker.created_at, now)),
            Field::new(worker.worker_types.join(" ")),
        ];
        if priced {
            fields.extend([
                Field::new(bought(worker).unwrap_or_default()),
                Field::new(money::known(worker.price_per_hour.map(|price| price.total_usd))),
                Field::new(money::known(worker.cost_usd)),
            ]);
        }
        fields.push(Field::new(note));
        table.row(fields);
    }
    table
}

/// What its machine is: type, zone, market.
fn bought(worker: &Worker) -> Option<String> {
    let parts = [&worker.instance_type, &worker.zone, &worker.market];
    let known: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    worker.price_per_hour.map(|_| known.join(" "))
}

fn page(worker: &Worker, now: Timestamp) -> String {
    let colour = colour(worker.state);
    let mut text = format!("{}  {colour}{}{colour:#}\n", style::bold(&worker.id.to_string()), worker.state);
    let mut fact = |name: &str, value: Option<String>| {
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let _ = writeln!(text, "  {} {value}", style::dim(&format!("{name:<10}")));
        }
    };
    fact("why", worker.reason.clone());
    fact("runs", Some(worker.worker_types.join(" ")));
    fact("jobs", Some(format!("{} of {}", worker.executions.len(), worker.slots)));
    fact("machine", bought(worker).or(worker.machine.clone()));
    fact("name", worker.machine_id.clone());
    fact("host", worker.host.clone());
    fact("cpus", worker.cpus.map(|cpus| cpus.to_string()));
    fact("memory", worker.memory_bytes.map(time::bytes));
    fact("version", worker.version.clone());
    fact(
        "since",
        Some(format!("{} ({})", time::moment(worker.created_at), time::ago(worker.created_at, now))),
    );
    fact("price", worker.price_per_hour.map(|price| format!("{} an hour", money::usd(price.total_usd))));
    let parts =
        |cost: Cost| format!("boot {}, idle {}", money::usd(cost.boot_usd), money::usd(cost.idle_usd));
    let cost = worker.cost_usd.zip(worker.cost);
    fact("cost", cost.map(|(all, cost)| format!("{} ({})", money::usd(all), parts(cost))));
    fact("gone", worker.terminated_at.map(time::moment));
    for execution in &worker.executions {
        fact("execution", Some(execution.to_string()));
    }
    text.trim_end().to_owned()
}

fn colour(state: WorkerStateName) -> Style {
    match state {
        WorkerStateName::Launching | WorkerStateName::Booting => AnsiColor::Cyan.on_default(),
        WorkerStateName::Idle => AnsiColor::Green.on_default(),
        WorkerStateName::Busy => AnsiColor::Blue.on_default(),
        WorkerStateName::Draining | WorkerStateName::Terminating => AnsiColor::Yellow.on_default(),
        WorkerStateName::Terminated => Style::new().dimmed(),
    }
}
