//! Diagnostics on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// How diagnostics are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON document a line.
    Json,
}

/// Writes diagnostics to stderr from now on. `RUST_LOG` says which; without it, `default` does. A subscriber that is
/// there already (an embedder's, a test's) stays.
pub fn install(format: LogFormat, default: &str) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colours).with_target(false).finish().try_init()
        }
        LogFormat::Json => builder.json().finish().try_init(),
    };
    if let Err(error) = installed {
        tracing::debug!(%error, "diagnostics were set up before");
    }
}
