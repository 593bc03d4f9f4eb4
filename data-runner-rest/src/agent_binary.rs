//! The agent's program, as machines fetch it.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use data_runner_core::id::Sha256;
use futures::Stream;
use sha2::Digest as _;

/// How much is read at a time.
const CHUNK: usize = 256 * 1024;

/// The agent's program for one architecture. The file is held open: a package that replaces it while machines fetch it
/// gives them the old one to its end, whose hash they were told.
#[derive(Debug, Clone)]
pub struct AgentBinary {
    file: Arc<File>,
    bytes: u64,
    sha256: Sha256,
}

impl AgentBinary {
    /// Opens the program and hashes it. Blocks for as long as that takes.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let mut hasher = sha2::Sha256::new();
        let mut buffer = vec![0; CHUNK];
        let mut bytes = 0;
        loop {
            let read = file.read(&mut buffer)?;
            if read == 0 {
                break;
            }
            hasher.update(buffer.get(..read).unwrap_or_default());
            bytes += read as u64;
        }
        let sha256 = Sha256::try_from(hex::encode(hasher.finalize())).map_err(io::Error::other)?;
        Ok(Self { file: Arc::new(file), bytes, sha256 })
    }

    /// Its SHA-256, which machines are told on another way than they get the program.
    pub fn sha256(&self) -> &Sha256 {
        &self.sha256
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Its content, read as it is sent. Holds `guard` until it ends.
    pub(crate) fn stream<G: Send + 'static>(
        &self,
        guard: G,
    ) -> impl Stream<Item = io::Result<Bytes>> + Send + use<G> {
        let reader = Reader { file: Arc::clone(&self.file), at: 0, end: self.bytes, _guard: guard };
        futures::stream::unfold(Some(reader), |reader| async {
            let mut reader = reader?;
            match reader.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(reader))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })
    }
}

struct Reader<G> {
    file: Arc<File>,
    at: u64,
    end: u64,
    _guard: G,
}

impl<G> Reader<G> {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let wanted = usize::try_from(self.end - self.at).unwrap_or(CHUNK).min(CHUNK);
        if wanted == 0 {
            return Ok(None);
        }
        let (file, at) = (Arc::clone(&self.file), self.at);
        let read = tokio::task::spawn_blocking(move || {
            let mut buffer = vec![0; wanted];
            file.read_exact_at(&mut buffer, at).map(|()| Bytes::from(buffer))
        });
        let bytes = read.await.map_err(io::Error::other)??;
        self.at += bytes.len() as u64;
        Ok(Some(bytes))
    }
}
