//! Runs a test program, and kills it when it hangs: a test that waits for ever must fail, and not hold up all others.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::process::{Child, Command, ExitCode};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::Context as _;

/// How long a test program may print nothing. A test waits three minutes for what it waits for, and says what did not
/// come; two of them in a row on a slow machine are still within it.
const SILENCE: Duration = Duration::from_secs(10 * 60);

/// How often to look whether it has ended.
const LOOK: Duration = Duration::from_secs(1);

/// What to run.
#[derive(clap::Args)]
pub struct WatchArgs {
    /// The program and its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
    /// How long it may print nothing, in milliseconds.
    #[arg(long, hide = true)]
    silence: Option<u64>,
}

/// As an argument of cargo, so that it runs all test programs under watch.
pub fn as_runner() -> anyhow::Result<[String; 2]> {
    let program = std::env::current_exe().context("cannot tell which program this is")?;
    let program = serde_json::to_string(&program).context("the path of this program is no text")?;
    Ok(["--config".into(), format!("target.'cfg(all())'.runner = [{program}, \"watch\", \"--\"]")])
}

/// Runs it to its end. Its output goes on to stdout, its code is ours.
pub fn watch(args: &WatchArgs) -> anyhow::Result<ExitCode> {
    let silence = args.silence.map_or(SILENCE, Duration::from_millis);
    let [program, arguments @ ..] = args.command.as_slice() else { anyhow::bail!("there is nothing to run") };
    let (output, writer) = std::io::pipe().context("cannot make a pipe")?;
    let mut command = Command::new(program);
    command.args(arguments).stdout(writer.try_clone().context("cannot copy a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", program.display()))?;
    // It holds ends of the pipe, which would never end.
    drop(command);
    let pieces = read(output);
    let (look, mut quiet) = (LOOK.min(silence), Duration::ZERO);
    loop {
        match pieces.recv_timeout(look) {
            Ok(piece) => {
                quiet = Duration::ZERO;
                show(&piece)?;
            }
            Err(RecvTimeoutError::Disconnected) => return ended(&mut child),
            Err(RecvTimeoutError::Timeout) => {
                quiet += look;
                // What it started may hold the pipe when it has ended itself.
                if child.try_wait().context("cannot look at the program")?.is_some() {
                    return ended(&mut child);
                }
                if quiet >= silence {
                    return hangs(&mut child, silence);
                }
            }
        }
    }
}

/// What comes through the pipe, until all who hold its other end have let it go.
fn read(mut output: std::io::PipeReader) -> mpsc::Receiver<Vec<u8>> {
    let (sender, pieces) = mpsc::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 1 << 16];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer.iter().take(length).copied().collect()).is_err() {
                return;
            }
        }
    });
    pieces
}

fn show(piece: &[u8]) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(piece).and_then(|()| stdout.flush()).context("cannot write to stdout")
}

fn ended(child: &mut Child) -> anyhow::Result<ExitCode> {
    let status = child.wait().context("cannot wait for the program")?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    if code.is_none() {
        println!("the test program ended with {status}");
    }
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

fn hangs(child: &mut Child, silence: Duration) -> anyhow::Result<ExitCode> {
    child.kill().context("cannot kill a program that hangs")?;
    child.wait().context("cannot wait for the program")?;
    println!("killed: no test of this program has ended for {silence:?}");
    Ok(ExitCode::FAILURE)
}

#[cfg(all(test, unix))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn shell(script: &str, silence: u64) -> ExitCode {
        let command = ["sh", "-c", script].map(OsString::from).to_vec();
        watch(&WatchArgs { command, silence: Some(silence) }).unwrap()
    }

    #[test]
    fn a_program_that_ends_keeps_its_code() {
        assert_eq!(shell("echo said; exit 0", 60_000), ExitCode::SUCCESS);
        assert_eq!(shell("echo said >&2; exit 101", 60_000), ExitCode::from(101));
    }

    #[test]
    fn a_program_that_hangs_is_killed_and_has_failed() {
        assert_eq!(shell("echo said; exec sleep 1000", 50), ExitCode::FAILURE);
    }

    #[test]
    fn what_a_program_left_behind_does_not_hold_it_up() {
        assert_eq!(shell("sleep 20 & exit 0", 60_000), ExitCode::SUCCESS);
    }
}
