//! What changed in a repository, from commit to commit.

use std::collections::BTreeMap;
use std::path::Path;

use data_runner_core::id::Revision;
use data_runner_core::port::{DIFF_BYTES, Version};
use data_runner_core::time::Timestamp;
use git2::{Commit, DiffDelta, DiffFormat, DiffLine, DiffOptions, ErrorCode, Oid, Repository, Sort, Tree};

/// A longer history is not looked through to its end.
const COMMITS: usize = 100_000;

/// Some of a history.
pub(crate) struct History {
    /// The newest first.
    pub(crate) versions: Vec<Version>,
    /// A commit was met whose parents are not in our copy: it may not be what changed anything, and there may be more.
    pub(crate) is_cut: bool,
}

/// The commits up to `revision` that changed something at or below `paths`, the newest first. As `git log` does it, a
/// merge counts only if it differs from all that it merges.
pub(crate) fn history(
    repository: &Repository,
    revision: &Revision,
    paths: &[String],
    limit: usize,
) -> Result<History, git2::Error> {
    let mut walk = repository.revwalk()?;
    walk.set_sorting(Sort::TOPOLOGICAL | Sort::TIME)?;
    walk.push(Oid::from_str(revision.as_str())?)?;
    let mut known: BTreeMap<Oid, Vec<Option<Oid>>> = BTreeMap::new();
    let (mut versions, mut is_cut) = (Vec::new(), false);
    for id in walk.take(COMMITS) {
        if versions.len() == limit {
            break;
        }
        let commit = repository.find_commit(id?)?;
        is_cut |= ends_here(&commit);
        let own = match known.remove(&commit.id()) {
            Some(own) => own,
            None => objects(&commit.tree()?, paths)?,
        };
        let mut is_new = own.iter().any(Option::is_some) || commit.parent_count() > 0;
        for parent in commit.parents() {
            let theirs = objects(&parent.tree()?, paths)?;
            is_new &= theirs != own;
            known.insert(parent.id(), theirs);
        }
        if is_new {
            versions.push(version(&commit)?);
        }
    }
    Ok(History { versions, is_cut })
}

/// Whether our copy ends at this commit: it shows none of the parents that it was made with.
fn ends_here(commit: &Commit<'_>) -> bool {
    let mut lines = commit.raw_header_bytes().split(|byte| *byte == b'\n');
    commit.parent_count() == 0 && lines.any(|line| line.starts_with(b"parent "))
}

/// What stands at each path.
fn objects(tree: &Tree<'_>, paths: &[String]) -> Result<Vec<Option<Oid>>, git2::Error> {
    let object = |path: &String| match tree.get_path(Path::new(path)) {
        Ok(entry) => Ok(Some(entry.id())),
        Err(error) if error.code() == ErrorCode::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    paths.iter().map(object).collect()
}

fn version(commit: &Commit<'_>) -> Result<Version, git2::Error> {
    let revision: Result<Revision, _> = commit.id().to_string().parse();
    let text =
        |bytes: &[u8]| Some(String::from_utf8_lossy(bytes).into_owned()).filter(|text| !text.is_empty());
    Ok(Version {
        revision: revision.map_err(|error| git2::Error::from_str(&error.to_string()))?,
        at: Some(Timestamp::from_micros(commit.time().seconds().saturating_mul(1_000_000))),
        author: text(commit.author().name_bytes()),
        subject: commit.summary_bytes().and_then(text),
    })
}

/// A unified diff of what is at or below `paths`.
pub(crate) fn diff(
    repository: &Repository,
    [from, to]: [&Revision; 2],
    paths: &[String],
) -> Result<String, git2::Error> {
    let tree = |revision: &Revision| repository.find_commit(Oid::from_str(revision.as_str())?)?.tree();
    let mut options = DiffOptions::new();
    options.disable_pathspec_match(true);
    for path in paths {
        options.pathspec(path);
    }
    let mut diff = repository.diff_tree_to_tree(Some(&tree(from)?), Some(&tree(to)?), Some(&mut options))?;
    diff.find_similar(None)?;
    let mut text = Vec::new();
    let printed = diff.print(DiffFormat::Patch, |_: DiffDelta<'_>, _, line: DiffLine<'_>| {
        let sign = matches!(line.origin(), '+' | '-' | ' ');
        if text.len() + line.content().len() >= DIFF_BYTES {
            return false;
        }
        if sign {
            text.extend(line.origin().to_string().into_bytes());
        }
        text.extend_from_slice(line.content());
        true
    });
    match printed {
        // It was we who ended it.
        Err(error) if error.code() != ErrorCode::User => Err(error),
        Ok(()) | Err(_) => Ok(String::from_utf8_lossy(&text).into_owned()),
    }
}
