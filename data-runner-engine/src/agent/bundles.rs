//! Bundles that were fetched, on disk by their hash, so that the next run of the same code fetches nothing.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use data_runner_core::id::Sha256;
use data_runner_core::port::BundleForm;

use super::code::Download;

/// A folder of bundles, each named by its hash, and what follows links to others. Whoever makes a machine ready may put
/// some there before the agent starts, in `bundles` of its state folder; they are checked like all others. The least
/// recently used go when there is more than `cap` bytes of them.
pub(super) struct Bundles {
    folder: PathBuf,
    cap: u64,
    pub(super) download: Option<Arc<dyn Download>>,
}

impl Bundles {
    /// Makes the folder, and clears what an earlier process left half written.
    pub(super) fn open(
        folder: PathBuf,
        cap: u64,
        download: Option<Arc<dyn Download>>,
    ) -> std::io::Result<Self> {
        std::fs::create_dir_all(&folder)?;
        for entry in std::fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "tmp") {
                std::fs::remove_file(path)?;
            }
        }
        Ok(Self { folder, cap, download })
    }

    /// In what form code is asked for.
    pub(super) fn form(&self) -> BundleForm {
        match self.download {
            Some(_) => BundleForm::Any,
            None => BundleForm::Bytes,
        }
    }

    /// The bytes of this hash, if they are here and whole.
    pub(super) async fn get(self: &Arc<Self>, hash: &Sha256) -> Option<Bytes> {
        let (this, hash) = (Arc::clone(self), hash.clone());
        let found = tokio::task::spawn_blocking(move || this.read(&hash)).await;
        found.ok().flatten()
    }

    /// Checks that `bytes` have the hash, and keeps them. False if they do not have it.
    /// A disk that does not take them costs the next run a download, nothing else.
    pub(super) async fn keep(self: &Arc<Self>, hash: &Sha256, bytes: Bytes) -> bool {
        let (this, hash) = (Arc::clone(self), hash.clone());
        let kept = tokio::task::spawn_blocking(move || {
            if Sha256::of(&bytes) != hash {
                return false;
            }
            if let Err(error) = this.write(&hash, &bytes) {
                tracing::warn!(%hash, error = &error as &dyn std::error::Error, "a bundle is not kept");
            }
            true
        });
        kept.await.unwrap_or(false)
    }

    fn read(&self, hash: &Sha256) -> Option<Bytes> {
        let path = self.folder.join(hash.as_str());
        let bytes = std::fs::read(&path).ok()?;
        if Sha256::of(&bytes) != *hash {
            tracing::warn!(%hash, "a kept bundle is damaged; it is fetched again");
            if let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%hash, error = &error as &dyn std::error::Error, "the damaged bundle stays");
            }
            return None;
        }
        mark_used(&path);
        Some(bytes.into())
    }

    fn write(&self, hash: &Sha256, bytes: &Bytes) -> std::io::Result<()> {
        let path = self.folder.join(hash.as_str());
        // Two runs may bring the same code at the same moment; each writes its own file, and either may win.
        let unique = format!("{hash}.{:?}.tmp", std::thread::current().id());
        let temporary = self.folder.join(unique);
        std::fs::write(&temporary, bytes)?;
        std::fs::rename(&temporary, &path)?;
        self.evict(&path)
    }

    /// Removes the least recently used bundles, never `keep`, until the rest fits.
    fn evict(&self, keep: &Path) -> std::io::Result<()> {
        let mut kept = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            kept.push((meta.modified()?, meta.len(), entry.path()));
        }
        kept.sort();
        let mut total: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in kept {
            if total <= self.cap {
                break;
            }
            if path != keep {
                std::fs::remove_file(path)?;
                total -= bytes;
            }
        }
        Ok(())
    }
}

/// The time of the last use is the file's own; if it cannot be set, the bundle goes a little early.
fn mark_used(path: &Path) {
    let marked = std::fs::File::open(path).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = marked {
        tracing::debug!(path = %path.display(), error = &error as &dyn std::error::Error, "not marked as used");
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn bundles(cap: u64) -> (tempfile::TempDir, Arc<Bundles>) {
        let folder = tempfile::tempdir().unwrap();
        let bundles = Arc::new(Bundles::open(folder.path().to_owned(), cap, None).unwrap());
        (folder, bundles)
    }

    #[tokio::test]
    async fn what_was_kept_is_found_and_what_was_damaged_is_not() {
        let (folder, bundles) = bundles(100);
        let bytes = Bytes::from_static(b"code");
        let hash = Sha256::of(&bytes);
        assert!(bundles.keep(&hash, bytes.clone()).await);
        assert_eq!(bundles.get(&hash).await, Some(bytes));
        std::fs::write(folder.path().join(hash.as_str()), "evil").unwrap();
        assert_eq!(bundles.get(&hash).await, None);
        assert!(!folder.path().join(hash.as_str()).exists());
    }

    #[tokio::test]
    async fn what_was_put_there_before_is_taken_if_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let (whole, torn) = (Sha256::of(b"code"), Sha256::of(b"other code"));
        std::fs::write(folder.path().join(whole.as_str()), "code").unwrap();
        std::fs::write(folder.path().join(torn.as_str()), "other").unwrap();
        let bundles = Arc::new(Bundles::open(folder.path().to_owned(), 100, None).unwrap());
        assert_eq!(bundles.get(&whole).await, Some(Bytes::from_static(b"code")));
        assert_eq!(bundles.get(&torn).await, None);
    }

    #[tokio::test]
    async fn bytes_of_another_hash_are_refused() {
        let (_folder, bundles) = bundles(100);
        let hash = Sha256::of(b"code");
        assert!(!bundles.keep(&hash, Bytes::from_static(b"other code")).await);
        assert_eq!(bundles.get(&hash).await, None);
    }

    #[tokio::test]
    async fn the_least_recently_used_go_first_and_never_the_newest() {
        let (folder, bundles) = bundles(10);
        let hashes: Vec<Sha256> = (0..3).map(|n| Sha256::of(&[n; 4])).collect();
        for (n, hash) in (0..).zip(&hashes) {
            assert!(bundles.keep(hash, Bytes::from(vec![n; 4])).await);
            let age = std::time::Duration::from_secs(60 * (3 - u64::from(n)));
            let file = std::fs::File::open(folder.path().join(hash.as_str()));
            if let Ok(file) = file {
                file.set_modified(SystemTime::now() - age).unwrap();
            }
        }
        assert_eq!(bundles.get(&hashes[0]).await, None);
        assert!(bundles.get(&hashes[1]).await.is_some() && bundles.get(&hashes[2]).await.is_some());
    }
}
