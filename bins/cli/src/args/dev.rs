//! Flags of `dev`.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;

/// Flags of `dev`; scripts rely on their names.
#[derive(Debug, Args)]
pub struct DevArgs {
    /// Git repositories (URL or path) or plain folders that hold workflows/; a plain folder runs its uncommitted files
    #[arg(value_name = "REPO_OR_DIR")]
    pub repositories: Vec<String>,
    /// Serve the sample workflows, run all of them and show their logs
    #[arg(long)]
    pub demo: bool,
    /// End after the demo: with 0 if it went as expected
    #[arg(long, requires = "demo")]
    pub exit_after_demo: bool,
    /// Where REST listens; port 0 takes a free one
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS", value_parser = loopback)]
    pub listen: SocketAddr,
    /// Where agents connect to; port 0 takes a free one, the same again after a restart
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDRESS", value_parser = loopback)]
    pub grpc_listen: SocketAddr,
    /// Where everything is kept
    #[arg(long, default_value = ".data-runner", value_name = "DIR")]
    pub state_dir: PathBuf,
    /// How many local workers there may be at one time
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub workers: u32,
}

/// Whoever reaches the address could run anything here: there is neither a login nor encryption yet.
fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr =
        text.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:8080".to_owned())?;
    if !address.ip().is_loopback() {
        return Err(format!(
            "it can be reached from other machines; listen on loopback, such as 127.0.0.1:{}; logins and TLS are not \
             supported yet",
            address.port()
        ));
    }
    Ok(address)
}
