//! Running cargo and others in the workspace's root.

use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};

use anyhow::{Context as _, bail};

/// The workspace's root folder.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where cargo builds, as an absolute path.
pub fn build_folder() -> PathBuf {
    let given = std::env::var_os("CARGO_TARGET_DIR").filter(|given| !given.is_empty());
    root().join(given.unwrap_or_else(|| "target".into()))
}

/// The cargo that runs us.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Runs a command, shows it, and fails if it fails.
pub fn run(command: &mut Command) -> anyhow::Result<()> {
    eprintln!("$ {}", shown(command));
    let status = command.status().with_context(|| format!("cannot start {}", shown(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", shown(command));
    }
    Ok(())
}

/// Runs a command, shows it and all that it prints, and lets `read` have each line of that.
pub fn run_reading(command: &mut Command, mut read: impl FnMut(&str)) -> anyhow::Result<ExitStatus> {
    let name = shown(command);
    eprintln!("$ {name}");
    if std::io::stdout().is_terminal() && std::env::var_os("CARGO_TERM_COLOR").is_none() {
        // It sees a pipe.
        command.env("CARGO_TERM_COLOR", "always");
    }
    // One for both: which program a result is of follows from the order.
    let (lines, writer) = std::io::pipe().context("cannot make a pipe")?;
    command.stdout(writer.try_clone().context("cannot copy a pipe")?).stderr(writer);
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    // The command holds ends of the pipe, which would never end.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let (mut lines, mut line) = (BufReader::new(lines), Vec::new());
    let mut terminal = std::io::stdout().lock();
    while lines.read_until(b'\n', &mut line).context("cannot read a pipe")? > 0 {
        terminal.write_all(&line).and_then(|()| terminal.flush()).context("cannot write to stdout")?;
        read(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
    child.wait().with_context(|| format!("cannot wait for {name}"))
}

/// Runs a command and gives what it printed.
pub fn output(command: &mut Command) -> anyhow::Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", shown(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}:\n{said}", shown(command), output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("{} printed no text", shown(command)))
}

fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    std::iter::once(name).chain(args).collect::<Vec<_>>().join(" ")
}
