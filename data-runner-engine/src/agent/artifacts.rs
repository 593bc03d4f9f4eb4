//! The files that a job left: found in its folder, and brought to the supervisor.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::agent::JobStep;
use data_runner_core::artifact::{ArtifactOffer, MAX_BYTES, MAX_FILES, Taken};
use data_runner_core::id::{ArtifactName, Hashing};
use data_runner_core::port::{AgentSession, BlobRef, ByteSource, Retry, RunRequest, Source};
use data_runner_core::workflow::ArtifactRule;

use super::chain;

/// How much of a file is read at one time.
const PIECE: usize = 256 << 10;

/// How many names are looked at for one job: a folder without end must not hold up its end.
const LOOKED_AT: usize = 200_000;

/// What is kept already of an attempt, by name and path: tries that follow leave it out.
pub(super) type KeptFiles = Arc<Mutex<BTreeSet<(ArtifactName, String)>>>;

/// A file that is to be kept.
#[derive(Debug, PartialEq, Eq)]
struct Found {
    name: ArtifactName,
    path: String,
    file: PathBuf,
    bytes: u64,
}

/// What a look at a job's folder found.
#[derive(Debug, Default, PartialEq, Eq)]
struct Collected {
    files: Vec<Found>,
    warnings: Vec<String>,
    unmatched: Vec<ArtifactName>,
}

/// Brings the files of a job to the supervisor, one after the other; what became of that is for core.
pub(super) async fn keep(run: &RunRequest, session: &dyn AgentSession, kept: KeptFiles) -> JobStep {
    let (rules, folder) = (run.job.artifacts.clone(), run.working_directory());
    let collected = tokio::task::spawn_blocking(move || collect(&folder, &rules)).await;
    let Collected { files, mut warnings, unmatched } = match collected {
        Ok(Ok(collected)) => collected,
        Ok(Err(error)) => return nothing(format!("its folder cannot be read: {}", chain(&error))),
        Err(panic) => return nothing(format!("its folder cannot be read: {}", chain(&panic))),
    };
    for found in files {
        let key = (found.name.clone(), found.path.clone());
        if kept.lock().unwrap_or_else(PoisonError::into_inner).contains(&key) {
            continue;
        }
        match bring(run, session, found).await {
            Ok(()) => drop(kept.lock().unwrap_or_else(PoisonError::into_inner).insert(key)),
            Err(NotBrought::Later(message)) => {
                let message = format!("{}: {message}", key.1);
                return JobStep::ArtifactsDelayed { message };
            }
            Err(NotBrought::Never(message)) => {
                warnings.push(format!("{} is not kept as artifact `{}`: {message}", key.1, key.0));
            }
        }
    }
    JobStep::ArtifactsKept { warnings, unmatched }
}

fn nothing(warning: String) -> JobStep {
    JobStep::ArtifactsKept {
        warnings: vec![format!("no artifacts are kept: {warning}")],
        unmatched: Vec::new(),
    }
}

/// Why a file was not brought.
enum NotBrought {
    Later(String),
    Never(String),
}

async fn bring(run: &RunRequest, session: &dyn AgentSession, found: Found) -> Result<(), NotBrought> {
    let unreadable = |error: io::Error| NotBrought::Never(format!("it cannot be read: {}", chain(&error)));
    let (file, blob) = blocking(move || {
        let mut file = File::open(&found.file)?;
        let blob = hash(&mut file)?;
        Ok((File::open(&found.file)?, blob))
    })
    .await
    .map_err(unreadable)?;
    let offer = ArtifactOffer { claim: run.claim, name: found.name, path: found.path, blob };
    let content = Box::new(FilePieces(Some(file)));
    session.keep_artifact(offer, content).await.map_err(|error| match error.retry() {
        Retry::Later => NotBrought::Later(chain(&error)),
        Retry::Never => NotBrought::Never(chain(&error)),
    })
}

fn hash(file: &mut File) -> io::Result<BlobRef> {
    let mut hashing = Hashing::default();
    let mut piece = vec![0; PIECE];
    loop {
        match file.read(&mut piece)? {
            0 => break,
            read => hashing.take(piece.get(..read).unwrap_or_default()),
        }
    }
    let bytes = hashing.bytes();
    Ok(BlobRef { hash: hashing.finish(), bytes })
}

/// A file as it is read.
struct FilePieces(Option<File>);

#[async_trait]
impl ByteSource for FilePieces {
    async fn next(&mut self) -> Result<Option<Bytes>, Source> {
        let Some(mut file) = self.0.take() else { return Ok(None) };
        let (file, piece) = blocking(move || {
            let mut piece = Vec::with_capacity(PIECE);
            file.by_ref().take(PIECE as u64).read_to_end(&mut piece)?;
            Ok((file, piece))
        })
        .await?;
        self.0 = Some(file);
        Ok((!piece.is_empty()).then(|| piece.into()))
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|panic| Err(io::Error::other(panic)))
}

/// The files below `folder` that the rules mean, in order of the rules and of their paths, as many as may be kept.
fn collect(folder: &Path, rules: &[ArtifactRule]) -> io::Result<Collected> {
    let root = folder.canonicalize()?;
    let mut collected = Collected::default();
    let mut taken = Taken::default();
    for rule in rules {
        let mut look = Look { root: &root, rule, left: LOOKED_AT, found: Vec::new(), outside: 0 };
        look.below(&rule.path.folder());
        if look.left == 0 {
            collected.warnings.push(format!(
                "artifact `{}`: there are more than {LOOKED_AT} files, and not all were looked at",
                rule.name
            ));
        }
        if look.outside > 0 {
            collected.warnings.push(format!(
                "artifact `{}`: {} that lead out of the job's folder, or to no file, are not kept",
                rule.name,
                counted(look.outside, "link")
            ));
        }
        if look.found.is_empty() && look.outside == 0 {
            collected.unmatched.push(rule.name.clone());
        }
        look.found.sort_by(|a, b| a.path.cmp(&b.path));
        let mut left_out = 0;
        for found in look.found {
            let with_it = taken.and(found.bytes);
            if with_it.fits() {
                taken = with_it;
                collected.files.push(found);
            } else {
                left_out += 1;
            }
        }
        if left_out > 0 {
            collected.warnings.push(format!(
                "artifact `{}`: {} not kept: of one attempt at most {MAX_FILES} files and {} GiB are",
                rule.name,
                if left_out == 1 { "1 file is".to_owned() } else { format!("{left_out} files are") },
                MAX_BYTES >> 30
            ));
        }
    }
    Ok(collected)
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}

/// A look for the files of one rule.
struct Look<'a> {
    root: &'a Path,
    rule: &'a ArtifactRule,
    /// How many more names may be looked at.
    left: usize,
    found: Vec<Found>,
    /// Links that match and lead elsewhere.
    outside: usize,
}

impl Look<'_> {
    /// Looks through a folder and those in it. Folders are never followed through links, so this comes to an end and
    /// stays inside. What cannot be read is not there: the job may have made it so.
    fn below(&mut self, path: &str) {
        let folder = self.root.join(path);
        let is_own = std::fs::symlink_metadata(&folder).is_ok_and(|it| it.is_dir());
        // A link on the way to it would lead elsewhere.
        if !is_own || folder.canonicalize().ok().as_deref() != Some(&folder) {
            return;
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let Some(left) = self.left.checked_sub(1) else { return };
            self.left = left;
            // A name that is no Unicode has no path that could be shown.
            let Ok(name) = entry.file_name().into_string() else { continue };
            let below = if path.is_empty() { name } else { format!("{path}/{name}") };
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.below(&below),
                Ok(_) if self.rule.path.matches(&below) => self.take(below, &entry.path()),
                Ok(_) | Err(_) => {}
            }
        }
    }

    /// A file, or a link to one within the job's folder. Nothing else is opened: it might never end.
    fn take(&mut self, path: String, entry: &Path) {
        let file = entry.canonicalize().ok().filter(|file| file.starts_with(self.root));
        let length =
            file.as_ref().and_then(|file| std::fs::symlink_metadata(file).ok()).filter(|it| it.is_file());
        match (file, length) {
            (Some(file), Some(length)) => {
                let name = self.rule.name.clone();
                self.found.push(Found { name, path, file, bytes: length.len() });
            }
            (Some(_) | None, _) => self.outside += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::os::unix::fs::symlink;

    use super::*;

    fn rule(name: &str, path: &str) -> ArtifactRule {
        let retain = std::time::Duration::from_secs(3600);
        ArtifactRule { name: name.parse().unwrap(), path: path.parse().unwrap(), retain }
    }

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    fn paths(collected: &Collected) -> Vec<(&str, &str, u64)> {
        collected.files.iter().map(|it| (it.name.as_str(), it.path.as_str(), it.bytes)).collect()
    }

    #[test]
    fn what_matches_is_found_in_order_and_a_rule_without_files_is_named() {
        let folder =
            folder(&[("out/b.csv", "bb"), ("out/a.csv", "a"), ("out/x/c.csv", "ccc"), ("d.txt", "")]);
        let rules = [
            rule("flat", "out/*.csv"),
            rule("none", "gone/*"),
            rule("deep", "**/*.csv"),
            rule("one", "d.txt"),
        ];
        let collected = collect(folder.path(), &rules).unwrap();
        let deep = [("deep", "out/a.csv", 1), ("deep", "out/b.csv", 2), ("deep", "out/x/c.csv", 3)];
        let expected =
            [&[("flat", "out/a.csv", 1), ("flat", "out/b.csv", 2)][..], &deep, &[("one", "d.txt", 0)]]
                .concat();
        assert_eq!(paths(&collected), expected);
        assert_eq!(collected.unmatched, ["none".parse().unwrap()]);
        assert_eq!(collected.warnings, [""; 0]);
    }

    #[test]
    fn links_that_lead_outside_are_not_followed() {
        let outside = folder(&[("secret.csv", "secret"), ("deep/secret.csv", "secret")]);
        let folder = folder(&[("out/a.csv", "a")]);
        let out = folder.path().join("out");
        symlink(outside.path().join("secret.csv"), out.join("stolen.csv")).unwrap();
        symlink("../../../../../../../../etc/hostname", out.join("host.csv")).unwrap();
        symlink("nowhere", out.join("broken.csv")).unwrap();
        symlink(outside.path().join("deep"), out.join("deep")).unwrap();
        symlink(outside.path(), folder.path().join("other")).unwrap();
        symlink("a.csv", out.join("latest.csv")).unwrap();
        let rules = [rule("all", "**/*.csv"), rule("other", "other/*.csv"), rule("deep", "out/deep/*.csv")];
        let collected = collect(folder.path(), &rules).unwrap();
        assert_eq!(paths(&collected), [("all", "out/a.csv", 1), ("all", "out/latest.csv", 1)]);
        assert_eq!(collected.warnings.len(), 1, "{:?}", collected.warnings);
        assert!(collected.warnings[0].contains("3 links"), "{:?}", collected.warnings);
        assert_eq!(collected.unmatched.len(), 2);
    }

    #[test]
    fn what_is_too_much_is_left_out_and_told() {
        let folder = tempfile::tempdir().unwrap();
        for n in 0..MAX_FILES + 2 {
            std::fs::write(folder.path().join(format!("{n:05}")), "").unwrap();
        }
        // It has no blocks: nothing of it is on the disk.
        let huge = File::create(folder.path().join("00000")).unwrap();
        huge.set_len(MAX_BYTES + 1).unwrap();
        let collected = collect(folder.path(), &[rule("all", "*")]).unwrap();
        assert_eq!(collected.files.len(), MAX_FILES);
        assert_eq!(collected.files[0].path, "00001");
        assert!(collected.warnings[0].contains("2 files are not kept"), "{:?}", collected.warnings);
    }

    #[test]
    fn a_pipe_is_no_file_and_holds_nothing_up() {
        let folder = tempfile::tempdir().unwrap();
        let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
        assert!(made.success());
        let collected = collect(folder.path(), &[rule("all", "*")]).unwrap();
        assert_eq!((collected.files.len(), collected.warnings.len()), (0, 1));
    }
}
