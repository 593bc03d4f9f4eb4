//! Taking addresses: clear refusals, and the same gRPC port again after a restart, so that living agents find it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// What listens there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listener {
    /// REST and UI.
    Rest,
    /// The agents' side.
    Grpc,
}

impl Listener {
    /// The flag that changes its address.
    const fn flag(self) -> &'static str {
        match self {
            Self::Rest => "--listen",
            Self::Grpc => "--grpc-listen",
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Rest => "REST",
            Self::Grpc => "gRPC",
        }
    }
}

/// Why an address cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Something listens there already.
    #[error(
        "the {} address {address} is in use; end what listens there, or give another with {} (port 0 takes a free one)",
        what.name(), what.flag()
    )]
    InUse {
        /// For what.
        what: Listener,
        /// Which.
        address: SocketAddr,
    },
    /// The system refuses it.
    #[error("the {} address {address} cannot be taken; give another with {}", what.name(), what.flag())]
    Refused {
        /// For what.
        what: Listener,
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The port could not be kept for the next start.
    #[error("the port could not be kept in {}", path.display())]
    Keep {
        /// Where.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Takes `address`; non-blocking, as tokio wants it.
pub fn take(what: Listener, address: SocketAddr) -> Result<TcpListener, ListenError> {
    let taken = TcpListener::bind(address).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    taken.map_err(|source| {
        if source.kind() == io::ErrorKind::AddrInUse {
            ListenError::InUse { what, address }
        } else {
            ListenError::Refused { what, address, source }
        }
    })
}

/// Takes the agents' address. With port 0 it is the port that was [kept](keep_port), where that is free: agents that
/// outlived the supervisor still dial it.
pub fn take_again(address: SocketAddr, state: &Path) -> Result<TcpListener, ListenError> {
    match (address.port(), last_port(&state.join(PORT_FILE))) {
        (0, Some(port)) => take(Listener::Grpc, SocketAddr::new(address.ip(), port)).or_else(|error| {
            tracing::warn!(%error, "another gRPC port is taken; agents that still live will not find it");
            take(Listener::Grpc, address)
        }),
        _ => take(Listener::Grpc, address),
    }
}

/// Keeps the agents' port for the next start. Only who holds the state may do that.
pub fn keep_port(address: SocketAddr, state: &Path) -> Result<(), ListenError> {
    let path = state.join(PORT_FILE);
    std::fs::write(&path, address.port().to_string()).map_err(|source| ListenError::Keep { path, source })
}

const PORT_FILE: &str = "grpc-port";

fn last_port(path: &Path) -> Option<u16> {
    std::fs::read_to_string(path).ok()?.trim().parse().ok().filter(|port| *port != 0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

    #[test]
    fn an_address_in_use_is_refused_with_what_to_do() {
        let held = take(Listener::Rest, ANY).unwrap();
        let error = take(Listener::Rest, held.local_addr().unwrap()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains("is in use") && text.contains("--listen"), "{text}");
    }

    #[test]
    fn a_restart_takes_the_same_grpc_port() {
        let state = tempfile::tempdir().unwrap();
        let first = take_again(ANY, state.path()).unwrap();
        let address = first.local_addr().unwrap();
        keep_port(address, state.path()).unwrap();
        drop(first);
        assert_eq!(take_again(ANY, state.path()).unwrap().local_addr().unwrap(), address);
    }

    #[test]
    fn a_port_that_somebody_else_took_meanwhile_does_not_stop_the_start() {
        let state = tempfile::tempdir().unwrap();
        let held = take(Listener::Grpc, ANY).unwrap();
        keep_port(held.local_addr().unwrap(), state.path()).unwrap();
        let other = take_again(ANY, state.path()).unwrap();
        assert_ne!(held.local_addr().unwrap(), other.local_addr().unwrap());
    }
}
