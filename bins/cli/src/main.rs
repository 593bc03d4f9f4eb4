//! The `data-runner` command.

mod args;
mod client;
mod command;
mod connection;
mod contexts;
mod dev;
mod error;
mod outcome;
mod output;

use std::process::ExitCode;

use clap::Parser as _;

use args::{Cli, Command};
use command::Context;
use data_runner_agent::AgentOptions;
use error::{Error, OURS};
use output::{Output, say};

fn main() -> ExitCode {
    if let Some(code) = hidden_mode() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    let reports_the_job = cli.command.reports_the_job();
    let output = Output::stdout(cli.common.output);
    match perform(cli, output) {
        Ok(code) => ExitCode::from(code),
        // 128 and SIGPIPE, as every other command of a pipe ends when its reader goes.
        Err(error) if error.is_broken_pipe() => ExitCode::from(141),
        Err(error) => {
            say(&error.render());
            if reports_the_job {
                outcome::report_ours(&error, output);
                return ExitCode::from(OURS);
            }
            ExitCode::from(error.exit_code())
        }
    }
}

/// Says what is wrong with the call (or prints help). Where the exit code is a job's, a wrong call is not 2.
fn refused(error: &clap::Error) -> ExitCode {
    let _ = error.print();
    let for_a_job = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    match (error.use_stderr(), for_a_job.as_deref()) {
        (true, Some("run" | "wait")) => ExitCode::from(OURS),
        (true, _) => ExitCode::from(2),
        (false, _) => ExitCode::SUCCESS,
    }
}

fn perform(cli: Cli, output: Output) -> Result<u8, Error> {
    // Quiet by default: what a person must know is said by the commands themselves.
    // The verifier of certificates says on its own what the error says as well.
    data_runner_server::install_telemetry(cli.common.log_format, "warn,rustls_platform_verifier=off");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::io("cannot start", source))?;
    runtime.block_on(dispatch(cli, output))
}

async fn dispatch(cli: Cli, output: Output) -> Result<u8, Error> {
    let connect = || connection::client(&cli.common);
    let context = || Ok::<_, Error>(Context { client: connect()?, output });
    match &cli.command {
        Command::Dev(args) => dev::dev(args, output).await,
        Command::Init(args) => command::init(args, output),
        Command::Validate(args) => command::validate(args, output),
        Command::Doctor(args) => command::doctor(args, &connect()?, output).await,
        Command::Advise(args) => command::advise(args, &context()?).await,
        Command::Plan(args) => command::plan(args, &context()?).await,
        Command::Cost(args) => command::cost(args, &context()?).await,
        Command::Run(args) => command::run(args, output, context).await,
        Command::Ps(args) => command::ps(args, &context()?).await,
        Command::Show(args) => command::show(args, &context()?).await,
        Command::Diff(args) => command::executions_diff(args, &context()?).await,
        Command::Logs(args) => command::logs(args, &context()?).await,
        Command::Wait(args) => command::wait(args, &context()?).await,
        Command::Cancel(args) => command::cancel(args, &context()?).await,
        Command::Retry(args) => command::repeat("retry", args, &context()?).await,
        Command::Rerun(args) => command::repeat("rerun", args, &context()?).await,
        Command::Workflow(command) => command::workflow(command, &context()?).await,
        Command::Backfill(args) => command::backfill(args, &context()?).await,
        Command::Group(command) => command::group(command, &context()?).await,
        Command::Artifact(command) => command::artifact(command, &context()?).await,
        Command::Schedule(command) => command::schedule(command, &context()?).await,
        Command::Worker(command) => command::worker(command, &context()?).await,
        Command::Image(command) => command::image(command, &context()?).await,
        Command::Secret(command) => command::secret(command, &context()?).await,
        Command::Token(command) => command::token(command, &context()?).await,
        Command::Context(command) => command::contexts(command, &cli.common, output),
        Command::Api(args) => command::api(args, &connect()?).await,
        Command::Schema(args) => command::schema(args, output),
        Command::Completion(args) => command::completion(args, output),
    }
}

/// An agent of `dev`; what it must know is in its environment.
#[derive(Debug, clap::Parser)]
struct Agent {
    #[command(flatten)]
    options: AgentOptions,
}

/// The modes that are no command: the shim of a job, and an agent of `dev`. First thing of all, while the process has
/// one thread.
fn hidden_mode() -> Option<ExitCode> {
    data_runner_agent::carry_out_hidden_mode().or_else(|| {
        let mut arguments = std::env::args_os();
        let program = arguments.next()?;
        let is_agent = arguments.next().is_some_and(|mode| mode == dev::INTERNAL_AGENT);
        is_agent.then(|| {
            let agent = Agent::parse_from(std::iter::once(program).chain(arguments));
            data_runner_agent::run_to_end(&agent.options)
        })
    })
}
