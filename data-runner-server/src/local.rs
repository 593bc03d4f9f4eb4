//! Workers of this machine.

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use data_runner_core::settings::{PackageIndex, Settings};
use data_runner_local::{LocalJoining, LocalOptions, LocalProvisioner};

use crate::installation::Installation;
use crate::secured::Secured;
use crate::wiring::StartupError;

/// Where the agent looks for packages.
const PYTHON_INDEX: &str = "DATA_RUNNER_PYTHON_INDEX_URL";
/// Where the credentials for that are.
const PYTHON_INDEX_AUTH: &str = "DATA_RUNNER_PYTHON_INDEX_AUTH";
/// Where the agent keeps environments.
const TOOLS: &str = "DATA_RUNNER_TOOLS";

/// What starts agents as processes of this machine, which dial `grpc`.
pub fn provisioner(
    installation: &Installation,
    state: &Path,
    grpc: SocketAddr,
    secured: Option<&Secured>,
) -> Result<Arc<LocalProvisioner>, StartupError> {
    let settings = &installation.settings;
    let scheme = if secured.is_some() { "https" } else { "http" };
    let options = LocalOptions {
        agent_command: installation.agent.clone(),
        state: state.join("agents"),
        grpc_url: settings.grpc_url.clone().unwrap_or_else(|| format!("{scheme}://{}", dialled(grpc))),
        env: environment(settings, installation.pass_env.join(","), state),
        joining: secured.map(|secured| joining(secured, state)).transpose()?,
    };
    let provisioner = LocalProvisioner::new(options);
    provisioner
        .map(Arc::new)
        .map_err(|source| StartupError::machine("workers cannot be started here", source))
}

/// Agents of this machine join as those of any other.
fn joining(secured: &Secured, state: &Path) -> Result<LocalJoining, StartupError> {
    let ca = state.join("ca.pem");
    std::fs::write(&ca, &secured.ca)
        .map_err(|source| StartupError::machine(format!("{} cannot be written", ca.display()), source))?;
    Ok(LocalJoining { authority: secured.joining.clone(), ca })
}

fn environment(settings: &Settings, pass: String, state: &Path) -> Vec<(OsString, OsString)> {
    // Environments are made once for all agents of this machine; whoever has several states can share them too.
    let tools = std::env::var_os(TOOLS)
        .filter(|tools| !tools.is_empty())
        .unwrap_or_else(|| state.join("tools").into());
    let mut environment: Vec<(OsString, OsString)> = vec![(TOOLS.into(), tools)];
    if !pass.is_empty() {
        environment.push(("DATA_RUNNER_PASS_ENV".into(), pass.into()));
    }
    // One index with its own credentials: what the settings say, or what the environment does.
    let (index, auth) = match &settings.python.index {
        Some(PackageIndex { url, auth }) => (Some(url.into()), auth.as_ref().map(|it| it.to_string().into())),
        None => (std::env::var_os(PYTHON_INDEX), std::env::var_os(PYTHON_INDEX_AUTH)),
    };
    environment.extend(index.map(|index| (PYTHON_INDEX.into(), index)));
    environment.extend(auth.map(|auth| (PYTHON_INDEX_AUTH.into(), auth)));
    environment
}

/// An address that listens everywhere is dialled here.
fn dialled(address: SocketAddr) -> SocketAddr {
    if !address.ip().is_unspecified() {
        return address;
    }
    let here: IpAddr =
        if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() };
    SocketAddr::new(here, address.port())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_listens_everywhere_is_dialled_on_this_machine() {
        let dialled = |text: &str| dialled(text.parse().unwrap()).to_string();
        assert_eq!(dialled("0.0.0.0:7070"), "127.0.0.1:7070");
        assert_eq!(dialled("[::]:7070"), "[::1]:7070");
        assert_eq!(dialled("10.0.0.1:7070"), "10.0.0.1:7070");
    }
}
