//! A copy begins with the newest commit, and gets the rest when somebody asks for it.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use data_runner_core::id::Revision;
use data_runner_core::port::{SourceError, WorkflowSource as _};
use data_runner_git::{Access, GitSource, Limits};
use data_runner_testkit::memory::workflow_source::RepoFile;
use git2::{Oid, Repository};
use support::served::{Daemon, Uncut, Web};
use support::{Origin, access, workflow};
use tempfile::TempDir;

/// An origin with a history of random bytes.
struct World {
    folder: TempDir,
    origin: Origin,
    /// The oldest first.
    main: Vec<Oid>,
}

/// The bytes that one commit adds.
const STEP: usize = 50_000;

impl World {
    fn with(commits: usize) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let origin = Origin::new(folder.path().join("origin.git"));
        let mut it = Self { folder, origin, main: Vec::new() };
        for _ in 0..commits {
            it.push();
        }
        it
    }

    fn push(&mut self) -> Oid {
        let commit = self.change("main", self.main.last().copied(), self.main.len(), STEP);
        self.main.push(commit);
        commit
    }

    fn change(&self, branch: &str, parent: Option<Oid>, n: usize, bytes: usize) -> Oid {
        let mut files = workflow(&format!("program {branch} {n}"));
        files.insert("data/noise".to_owned(), RepoFile::Plain(noise(n as u64 + 1, bytes).into()));
        self.origin.commit(branch, parent, &files)
    }

    fn mirror(&self) -> PathBuf {
        self.folder.path().join("mirror.git")
    }

    fn source(&self, url: &str) -> GitSource {
        self.source_with(url, access())
    }

    fn source_with(&self, url: &str, access: Access) -> GitSource {
        GitSource::new(url, self.mirror(), access, Limits::default()).unwrap()
    }

    fn has(&self, commit: Oid) -> bool {
        Repository::open_bare(self.mirror()).unwrap().find_commit(commit).is_ok()
    }

    fn is_shallow(&self) -> bool {
        Repository::open_bare(self.mirror()).unwrap().is_shallow()
    }

    fn kept(&self) -> Vec<Oid> {
        let mirror = Repository::open_bare(self.mirror()).unwrap();
        mirror.references().unwrap().map(|kept| kept.unwrap().target().unwrap()).collect()
    }

    fn origin_gives_any_commit(&self) {
        let mut config = self.origin.repository().config().unwrap();
        config.set_bool("uploadpack.allowReachableSHA1InWant", true).unwrap();
    }
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut step = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..bytes.div_ceil(8)).flat_map(|_| step()).take(bytes).collect()
}

fn revision(commit: Oid) -> Revision {
    commit.to_string().parse().unwrap()
}

fn orders() -> [String; 1] {
    ["workflows/orders".to_owned()]
}

fn bytes_below(folder: &Path) -> usize {
    let size = |entry: fs::DirEntry| match entry.metadata().unwrap() {
        folder if folder.is_dir() => bytes_below(&entry.path()),
        file => usize::try_from(file.len()).unwrap(),
    };
    fs::read_dir(folder).unwrap().map(|entry| size(entry.unwrap())).sum()
}

async fn program_at(source: &GitSource, commit: Oid) -> String {
    let bytes = source.read(&revision(commit), "workflows/orders/workflow.py").await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

async fn history_of(source: &GitSource, commit: Oid) -> Vec<Revision> {
    let versions = source.history(&revision(commit), &orders(), 1_000).await.unwrap();
    versions.into_iter().map(|version| version.revision).collect()
}

fn newest_first(commits: &[Oid]) -> Vec<Revision> {
    commits.iter().rev().copied().map(revision).collect()
}

fn collect_garbage(repository: &Path) {
    for arguments in [&["reflog", "expire", "--all", "--expire=now"][..], &["gc", "--quiet", "--prune=now"]] {
        let done = Command::new("git").args(arguments).env("GIT_DIR", repository).output().unwrap();
        assert!(done.status.success(), "{done:?}");
    }
}

/// The copy first, then a push, then everything: what every protocol must do.
async fn begins_with_the_newest_and_gets_the_rest(it: &mut World, url: &str) {
    let source = it.source(url);
    let first = *it.main.last().unwrap();
    assert_eq!(source.resolve("main").await.unwrap(), revision(first));
    assert_eq!(source.discover(&revision(first)).await.unwrap().len(), 1);
    assert!(source.fetch(&revision(first), "workflows/orders", &[]).await.is_ok());
    assert!(bytes_below(&it.mirror()) < 2 * STEP, "{}", bytes_below(&it.mirror()));

    let behind = it.main[it.main.len() - 2];
    let pushed = [it.push(), it.push(), it.push()];
    assert_eq!(source.resolve("main").await.unwrap(), revision(pushed[2]));
    assert!(pushed.iter().all(|commit| it.has(*commit)), "a push comes with its history");
    assert!(!it.has(behind), "and brings nothing that is older");
    assert!(bytes_below(&it.mirror()) < 5 * STEP, "{}", bytes_below(&it.mirror()));
    assert_eq!(it.kept(), [pushed[2]]);
    let newest = source.history(&revision(pushed[2]), &orders(), 2).await.unwrap();
    assert_eq!(newest.len(), 2);
    assert!(it.is_shallow(), "a history that is here needs nothing else");

    assert_eq!(history_of(&source, pushed[2]).await, newest_first(&it.main));
    assert!(!it.is_shallow());
    let next = it.push();
    assert_eq!(source.resolve("main").await.unwrap(), revision(next));
    assert_eq!(history_of(&source, next).await, newest_first(&it.main));
    assert_eq!(it.kept(), [next]);
}

#[tokio::test]
async fn over_gits_own_protocol_a_copy_begins_with_the_newest_commit() {
    let mut it = World::with(40);
    let daemon = Daemon::serve(it.folder.path());
    begins_with_the_newest_and_gets_the_rest(&mut it, &daemon.url()).await;
}

#[tokio::test]
async fn over_http_a_copy_begins_with_the_newest_commit() {
    let mut it = World::with(40);
    let web = Web::serve(it.folder.path());
    begins_with_the_newest_and_gets_the_rest(&mut it, &web.url()).await;
}

#[tokio::test]
async fn a_server_that_cannot_cut_a_history_off_gives_it_whole() {
    let it = World::with(5);
    let daemon = Daemon::serve(it.folder.path());
    let source = it.source(&Uncut::before(&daemon).url());
    source.resolve("main").await.unwrap();
    assert!(!it.is_shallow() && it.has(it.main[0]));
    assert_eq!(history_of(&source, it.main[4]).await, newest_first(&it.main));
}

#[tokio::test]
async fn an_older_commit_is_brought_when_it_is_asked_for() {
    for is_short in [false, true] {
        for gives_any in [false, true] {
            let it = World::with(10);
            let (daemon, web) = (Daemon::serve(it.folder.path()), Web::serve(it.folder.path()));
            if gives_any {
                it.origin_gives_any_commit();
            }
            for url in [daemon.url(), web.url()] {
                let source = it.source(&url);
                source.resolve("main").await.unwrap();
                let old = it.main[4];
                let name = old.to_string();
                let name = if is_short { &name[..9] } else { &name };
                assert_eq!(source.resolve(name).await.unwrap(), revision(old));
                assert_eq!(program_at(&source, old).await, "program main 4");
                assert_eq!(
                    it.is_shallow(),
                    gives_any && !is_short,
                    "a whole name is enough for one commit alone"
                );
                assert_eq!(history_of(&source, old).await, newest_first(&it.main[..=4]));
                fs::remove_dir_all(it.mirror()).unwrap();
            }
        }
    }
}

#[tokio::test]
async fn a_diff_with_an_older_revision_brings_it() {
    let it = World::with(10);
    let daemon = Daemon::serve(it.folder.path());
    let source = it.source(&daemon.url());
    let seen = source.resolve("main").await.unwrap();
    let diff = source.diff(&revision(it.main[2]), &seen, &orders()).await.unwrap();
    assert!(diff.contains("-program main 2") && diff.contains("+program main 9"), "{diff}");
}

#[tokio::test]
async fn a_tag_behind_the_newest_commit_is_a_commit_of_its_own_until_its_history_is_asked_for() {
    let it = World::with(10);
    let old = it.origin.repository().find_object(it.main[3], None).unwrap();
    let me = git2::Signature::now("A", "a@example.org").unwrap();
    it.origin.repository().tag("v1", &old, &me, "first", false).unwrap();
    let daemon = Daemon::serve(it.folder.path());
    let source = it.source(&daemon.url());
    assert_eq!(source.resolve("v1").await.unwrap(), revision(it.main[3]));
    assert!(!it.has(it.main[2]));
    source.resolve("main").await.unwrap();
    assert_eq!(history_of(&source, it.main[9]).await, newest_first(&it.main));
    assert_eq!(source.resolve("v1").await.unwrap(), revision(it.main[3]));
}

#[tokio::test]
async fn a_rewritten_branch_takes_nothing_away_from_a_shallow_copy() {
    let it = World::with(6);
    let daemon = Daemon::serve(it.folder.path());
    let source = it.source(&daemon.url());
    let lost = it.main[5];
    source.resolve("main").await.unwrap();
    let bundle = source.fetch(&revision(lost), "workflows/orders", &[]).await.unwrap();
    let rewritten = it.change("main", Some(it.main[2]), 99, STEP);
    collect_garbage(it.origin.path());
    assert_eq!(source.resolve("main").await.unwrap(), revision(rewritten));

    for _ in 0..2 {
        assert_eq!(source.resolve(&lost.to_string()).await.unwrap(), revision(lost));
        assert_eq!(source.fetch(&revision(lost), "workflows/orders", &[]).await.unwrap(), bundle);
        let expected = [&it.main[..=2], &[rewritten]].concat();
        assert_eq!(history_of(&source, rewritten).await, newest_first(&expected));
        // Nobody has what came before it any more.
        assert_eq!(history_of(&source, lost).await, [revision(lost)]);
        collect_garbage(&it.mirror());
    }
}

#[tokio::test]
async fn an_old_commit_that_was_resolved_is_kept_whatever_is_missing_between_it_and_the_newest() {
    let mut it = World::with(10);
    it.origin_gives_any_commit();
    let daemon = Daemon::serve(it.folder.path());
    let source = it.source(&daemon.url());
    let old = it.main[3];
    source.resolve("main").await.unwrap();
    source.resolve(&old.to_string()).await.unwrap();
    let new = it.push();
    source.resolve("main").await.unwrap();
    assert_eq!(it.kept().len(), 2);
    collect_garbage(&it.mirror());
    drop(daemon);
    assert_eq!(program_at(&source, old).await, "program main 3");
    assert_eq!(program_at(&source, new).await, "program main 10");
}

#[tokio::test]
async fn a_branch_that_left_long_ago_does_not_bring_a_long_history() {
    let it = World::with(1);
    let mut side = None;
    for n in 0..5 {
        side = Some(it.change("side", side, 100 + n, 4 << 20));
    }
    let (daemon, web) = (Daemon::serve(it.folder.path()), Web::serve(it.folder.path()));
    for url in [daemon.url(), web.url()] {
        let source = it.source(&url);
        source.resolve("main").await.unwrap();
        assert_eq!(source.resolve("side").await.unwrap(), revision(side.unwrap()));
        assert_eq!(program_at(&source, side.unwrap()).await, "program side 104");
        assert!(bytes_below(&it.mirror()) < 6 << 20, "{}", bytes_below(&it.mirror()));
        let next = it.change("side", side, 105, STEP);
        assert_eq!(source.resolve("side").await.unwrap(), revision(next));
        assert!(bytes_below(&it.mirror()) < 6 << 20, "{}", bytes_below(&it.mirror()));
        assert_eq!(history_of(&source, next).await.len(), 6);
        it.origin.repository().reference("refs/heads/side", side.unwrap(), true, "").unwrap();
        fs::remove_dir_all(it.mirror()).unwrap();
    }
}

#[tokio::test]
async fn what_is_brought_later_has_the_bounds_of_every_fetch() {
    let it = World::with(20);
    let daemon = Daemon::serve(it.folder.path());
    let source = it.source_with(&daemon.url(), Access { largest_fetch: 5 * STEP as u64, ..access() });
    let seen = source.resolve("main").await.unwrap();
    let error = source.history(&seen, &orders(), 1_000).await.unwrap_err();
    assert!(matches!(error, SourceError::Refused { .. }), "{error:?}");
    drop(daemon);
    let error = source.history(&seen, &orders(), 1_000).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
    let error = source.diff(&revision(it.main[3]), &seen, &orders()).await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
    assert_eq!(program_at(&source, it.main[19]).await, "program main 19");
}

/// What a kill leaves at each point of a first fetch: a pack that was begun, a pack without the note that it ends there,
/// the note without a ref.
#[tokio::test]
async fn a_first_fetch_that_was_killed_is_mended_by_the_next_call() {
    let it = World::with(10);
    let daemon = Daemon::serve(it.folder.path());
    for is_noted in [false, true] {
        for asked in ["main", &it.main[9].to_string(), &it.main[9].to_string()[..8]] {
            it.source(&daemon.url()).resolve("main").await.unwrap();
            let mirror = it.mirror();
            fs::remove_dir_all(mirror.join("refs/data-runner")).unwrap();
            fs::create_dir_all(mirror.join("refs/data-runner/keep")).unwrap();
            if !is_noted {
                fs::remove_file(mirror.join("shallow")).unwrap();
            }
            let begun = mirror.join("objects/pack/pack_git2_0123456789abcdef");
            let anothers = mirror.join("objects/pack/pack_git2_fedcba9876543210");
            fs::write(&begun, "PACK").unwrap();
            fs::write(&anothers, "PACK").unwrap();
            let long_ago = SystemTime::now() - Duration::from_secs(24 * 60 * 60);
            fs::File::options().write(true).open(&begun).unwrap().set_modified(long_ago).unwrap();
            let lock = format!("refs/data-runner/keep/{}.lock", it.main[9]);
            for lock in ["config.lock", "shallow.lock", "packed-refs.lock", &lock] {
                fs::write(mirror.join(lock), "").unwrap();
            }

            let source = it.source(&daemon.url());
            assert_eq!(source.resolve(asked).await.unwrap(), revision(it.main[9]), "{asked} {is_noted}");
            assert!(!begun.exists() && anothers.exists());
            assert_eq!(it.kept(), [it.main[9]]);
            assert_eq!(history_of(&source, it.main[9]).await, newest_first(&it.main), "{asked} {is_noted}");
            fs::remove_dir_all(&mirror).unwrap();
        }
    }
}

#[tokio::test]
async fn a_copy_that_was_hardly_begun_is_made_by_the_next_call() {
    let it = World::with(2);
    let daemon = Daemon::serve(it.folder.path());
    for (folders, files) in [
        (&[][..], &["config.lock"][..]),
        (&["objects", "refs"], &["HEAD.lock", "config.lock", "config"]),
        (&["objects/info", "objects/pack", "refs/heads"], &["HEAD", "config.lock"]),
    ] {
        fs::create_dir_all(it.mirror()).unwrap();
        for folder in folders {
            fs::create_dir_all(it.mirror().join(folder)).unwrap();
        }
        for file in files {
            fs::write(it.mirror().join(file), "").unwrap();
        }
        let source = it.source(&daemon.url());
        assert_eq!(source.resolve("main").await.unwrap(), revision(it.main[1]), "{folders:?} {files:?}");
        assert_eq!(program_at(&source, it.main[1]).await, "program main 1");
        fs::remove_dir_all(it.mirror()).unwrap();
    }
}

#[tokio::test]
async fn a_history_of_what_a_killed_fetch_left_is_brought_whole() {
    let it = World::with(10);
    let daemon = Daemon::serve(it.folder.path());
    it.source(&daemon.url()).resolve("main").await.unwrap();
    fs::remove_dir_all(it.mirror().join("refs/data-runner")).unwrap();
    fs::remove_file(it.mirror().join("shallow")).unwrap();
    assert_eq!(history_of(&it.source(&daemon.url()), it.main[9]).await, newest_first(&it.main));
}

/// It brought everything, and the note that the copy ends early is still there.
#[tokio::test]
async fn a_completion_that_was_killed_is_done_by_the_next_call() {
    let it = World::with(10);
    let daemon = Daemon::serve(it.folder.path());
    let source = it.source(&daemon.url());
    source.resolve("main").await.unwrap();
    let note = fs::read(it.mirror().join("shallow")).unwrap();
    assert_eq!(history_of(&source, it.main[9]).await.len(), 10);
    fs::write(it.mirror().join("shallow"), note).unwrap();

    let source = it.source(&daemon.url());
    assert_eq!(source.resolve("main").await.unwrap(), revision(it.main[9]));
    assert_eq!(source.resolve(&it.main[2].to_string()).await.unwrap(), revision(it.main[2]));
    assert_eq!(history_of(&source, it.main[9]).await, newest_first(&it.main));
    assert!(!it.is_shallow());
}

/// A later commit stood alone, and the note was not written.
#[tokio::test]
async fn a_killed_fetch_of_a_second_branch_is_mended_by_the_next_call() {
    let it = World::with(10);
    it.origin_gives_any_commit();
    let side = it.change("side", Some(it.main[4]), 50, STEP);
    let daemon = Daemon::serve(it.folder.path());
    let source = it.source(&daemon.url());
    source.resolve("main").await.unwrap();
    let note = fs::read(it.mirror().join("shallow")).unwrap();
    source.resolve(&it.main[6].to_string()).await.unwrap();
    source.resolve(&side.to_string()).await.unwrap();
    for commit in [it.main[6], side] {
        fs::remove_file(it.mirror().join(format!("refs/data-runner/keep/{commit}"))).unwrap();
    }
    fs::write(it.mirror().join("shallow"), note).unwrap();

    let source = it.source(&daemon.url());
    assert_eq!(source.resolve("side").await.unwrap(), revision(side));
    assert_eq!(source.resolve(&it.main[6].to_string()[..8]).await.unwrap(), revision(it.main[6]));
    let expected = [&it.main[..=4], &[side]].concat();
    assert_eq!(history_of(&source, side).await, newest_first(&expected));
    assert_eq!(history_of(&source, it.main[9]).await, newest_first(&it.main));
}
