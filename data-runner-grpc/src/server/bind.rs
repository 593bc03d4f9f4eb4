//! Why there is no listener.

use std::io;
use std::net::SocketAddr;

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen for agents on {address}: {advice}")]
pub struct BindError {
    /// The address.
    pub address: SocketAddr,
    advice: &'static str,
    #[source]
    source: io::Error,
}

impl BindError {
    pub(super) fn new(address: SocketAddr, source: io::Error) -> Self {
        let advice = if source.kind() == io::ErrorKind::AddrInUse {
            "another program has that port, perhaps another supervisor; stop it, or choose another port"
        } else if source.kind() == io::ErrorKind::PermissionDenied {
            "this user may not take that port; choose one above 1023"
        } else if source.kind() == io::ErrorKind::AddrNotAvailable {
            "this machine does not have that address; choose one of its own, or 0.0.0.0 for all of them"
        } else {
            "the operating system refuses"
        };
        Self { address, advice, source }
    }
}
