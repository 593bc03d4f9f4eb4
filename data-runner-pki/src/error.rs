//! What can be wrong with keys and certificates.

use std::io;
use std::path::PathBuf;

/// Why keys or certificates cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum PkiError {
    /// A file cannot be read or written.
    #[error("cannot {doing} {}", path.display())]
    Io {
        /// What was done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
    /// A secret that others may read is none.
    #[error("{} can be read by others: it holds a secret; if nobody took it, `chmod 600` it", path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
    },
    /// A file is not what was written there. It is never replaced: what machines already trust hangs on it.
    #[error("{} is damaged: {what}; put it back from a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The authority's own certificate has ended.
    #[error("the certificate authority in {} has ended; end all machines, remove the file, and start again", path.display())]
    AuthorityEnded {
        /// The file.
        path: PathBuf,
    },
    /// A certificate that the operator gave cannot be used.
    #[error("{}: {what}", path.display())]
    Given {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// A certificate or key cannot be made.
    #[error("a certificate cannot be made")]
    Make(#[source] rcgen::Error),
    /// A name that is dialled cannot stand in a certificate.
    #[error("{name:?} cannot stand in a certificate")]
    Name {
        /// The name.
        name: String,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// TLS cannot be set up.
    #[error("TLS cannot be set up")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness")]
    Entropy(#[source] rand::rngs::SysError),
    /// The clock cannot be read.
    #[error("the clock cannot be read")]
    NoTime,
}

impl PkiError {
    pub(crate) fn tls(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Tls(Box::new(error))
    }
}
