//! Diagnostics on stderr.

use std::io::IsTerminal as _;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::{AgentOptions, LogFormat};

/// Writes diagnostics to stderr from now on. A subscriber that is there already stays.
pub(crate) fn install(options: &AgentOptions) {
    let (filter, broken) = match EnvFilter::try_new(&options.log) {
        Ok(filter) => (filter, None),
        Err(error) => (EnvFilter::new("info"), Some(error)),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match options.log_format {
        LogFormat::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            builder.with_ansi(colours).with_target(false).finish().try_init()
        }
        LogFormat::Json => builder.json().finish().try_init(),
    };
    if let Err(error) = installed {
        tracing::debug!(%error, "diagnostics were set up before");
    }
    if let Some(error) = broken {
        tracing::warn!(%error, filter = options.log, "not a filter of diagnostics; `info` is used");
    }
}
