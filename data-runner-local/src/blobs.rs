//! Blobs as files.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::id::{Hashing, Sha256};
use data_runner_core::port::{BlobError, BlobRef, BlobStore, ByteSource, Checked, Source};

use crate::durable;

/// How much of a file is read at one time.
const PIECE: usize = 256 << 10;

/// A [`BlobStore`] in a folder: the blob `abcd…` is the file `ab/cd…`. Several may use one folder.
#[derive(Debug, Clone)]
pub struct FolderBlobs {
    root: Arc<PathBuf>,
}

impl FolderBlobs {
    /// A store in `root`, which is made with the first blob.
    pub fn new(root: PathBuf) -> Self {
        Self { root: Arc::new(root) }
    }

    /// Removes what puts that were cut short have left. Only while nobody puts anything there.
    ///
    /// # Errors
    /// The folder cannot be read, or something in it not be removed.
    pub fn tidy(&self) -> io::Result<()> {
        for shard in folders_in(&self.root)? {
            durable::remove_unfinished(&shard)?;
        }
        Ok(())
    }

    fn path(&self, hash: &Sha256) -> PathBuf {
        let (shard, rest) = hash.as_str().split_at(2);
        self.root.join(shard).join(rest)
    }

    fn read_all(&self, hash: &Sha256) -> Result<Bytes, BlobError> {
        match std::fs::read(self.path(hash)) {
            Ok(bytes) if Sha256::of(&bytes) == *hash => Ok(bytes.into()),
            Ok(_) => Err(BlobError::Corrupt(hash.clone())),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(BlobError::NotFound(hash.clone())),
            Err(error) => Err(BlobError::Unavailable(error.into())),
        }
    }

    fn write(&self, bytes: &[u8]) -> io::Result<Sha256> {
        let hash = Sha256::of(bytes);
        // What is there may be damaged, so that its name alone does not spare the writing.
        if self.read_all(&hash).is_err() {
            durable::write(&self.place(&hash)?, bytes)?;
        }
        Ok(hash)
    }

    /// The path of a blob, whose folder is there.
    fn place(&self, hash: &Sha256) -> io::Result<PathBuf> {
        let path = self.path(hash);
        if let Some(folder) = path.parent() {
            durable::make_folder(folder)?;
        }
        Ok(path)
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T, BlobError> + Send + 'static,
    ) -> Result<T, BlobError> {
        let store = self.clone();
        blocking(move || work(&store)).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(BlobError::Unavailable(error.into())))
}

fn unavailable(error: io::Error) -> BlobError {
    BlobError::Unavailable(error.into())
}

fn folders_in(root: &Path) -> io::Result<Vec<PathBuf>> {
    match std::fs::read_dir(root) {
        Ok(entries) => entries.map(|entry| entry.map(|entry| entry.path())).collect(),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// A blob's file on its way out.
struct Reader {
    file: Option<File>,
    hashing: Hashing,
    hash: Sha256,
}

#[async_trait]
impl ByteSource for Reader {
    async fn next(&mut self) -> Result<Option<Bytes>, Source> {
        let Some(mut file) = self.file.take() else { return Ok(None) };
        let (file, piece) = blocking(move || {
            let mut piece = Vec::with_capacity(PIECE);
            file.by_ref().take(PIECE as u64).read_to_end(&mut piece).map_err(unavailable)?;
            Ok((file, piece))
        })
        .await?;
        if piece.is_empty() {
            let good = std::mem::take(&mut self.hashing).finish() == self.hash;
            return if good { Ok(None) } else { Err(BlobError::Corrupt(self.hash.clone()).into()) };
        }
        self.hashing.take(&piece);
        self.file = Some(file);
        Ok(Some(piece.into()))
    }
}

#[async_trait]
impl BlobStore for FolderBlobs {
    async fn put(&self, bytes: Bytes) -> Result<Sha256, BlobError> {
        self.blocking(move |store| store.write(&bytes).map_err(|error| BlobError::Unavailable(error.into())))
            .await
    }

    async fn get(&self, hash: &Sha256) -> Result<Bytes, BlobError> {
        let hash = hash.clone();
        self.blocking(move |store| store.read_all(&hash)).await
    }

    async fn contains(&self, hash: &Sha256) -> Result<bool, BlobError> {
        let path = self.path(hash);
        self.blocking(move |_| path.try_exists().map_err(|error| BlobError::Unavailable(error.into()))).await
    }

    async fn put_pieces(&self, blob: BlobRef, content: Box<dyn ByteSource>) -> Result<(), BlobError> {
        let hash = blob.hash.clone();
        let begun = self.blocking(move |store| {
            store.place(&hash).and_then(|path| durable::Unfinished::begin(&path)).map_err(unavailable)
        });
        let mut file = begun.await?;
        let mut content = Checked::new(content, blob);
        while let Some(piece) = content.next().await? {
            file = blocking(move || file.append(&piece).map_err(unavailable)).await?;
        }
        blocking(move || file.finish().map_err(unavailable)).await
    }

    async fn read(&self, hash: &Sha256) -> Result<Box<dyn ByteSource>, BlobError> {
        let hash = hash.clone();
        self.blocking(move |store| match File::open(store.path(&hash)) {
            Ok(file) => Ok(Box::new(Reader { file: Some(file), hashing: Hashing::default(), hash }) as _),
            Err(error) if error.kind() == ErrorKind::NotFound => Err(BlobError::NotFound(hash)),
            Err(error) => Err(unavailable(error)),
        })
        .await
    }

    async fn remove(&self, hash: &Sha256) -> Result<(), BlobError> {
        let path = self.path(hash);
        self.blocking(move |_| match std::fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(unavailable(error)),
            Ok(()) | Err(_) => Ok(()),
        })
        .await
    }
}
