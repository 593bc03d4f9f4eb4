//! What happens to a git repository, and what its source then says.
#![allow(clippy::unwrap_used, clippy::panic, missing_docs)]

mod support;

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;

use data_runner_core::id::Revision;
use data_runner_core::port::{SourceError, WorkflowSource};
use data_runner_git::{GitSource, Limits};
use git2::{Index, ObjectType, Oid, Signature};
use support::served::Daemon;
use support::{Origin, access, entry, workflow};
use tempfile::TempDir;

struct World {
    folder: TempDir,
    origin: Origin,
    source: GitSource,
}

fn world() -> World {
    let folder = tempfile::tempdir().unwrap();
    let origin = Origin::new(folder.path().join("origin.git"));
    let source = mirror_of(&origin.url(), folder.path(), "mirror.git");
    World { folder, origin, source }
}

fn mirror_of(url: &str, folder: &Path, name: &str) -> GitSource {
    GitSource::new(url, folder.join(name), access(), Limits::default()).unwrap()
}

fn revision(commit: Oid) -> Revision {
    commit.to_string().parse().unwrap()
}

async fn program_at(source: &GitSource, revision: &Revision) -> String {
    let bytes = source.read(revision, "workflows/orders/workflow.py").await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_push_is_seen_by_the_next_resolve() {
    let it = world();
    let first = it.origin.commit("main", None, &workflow("1"));
    assert_eq!(it.source.resolve("main").await.unwrap(), revision(first));
    let second = it.origin.commit("main", Some(first), &workflow("2"));
    let seen = it.source.resolve("main").await.unwrap();
    assert_eq!(seen, revision(second));
    assert_eq!(program_at(&it.source, &seen).await, "2");
    assert_eq!(program_at(&it.source, &revision(first)).await, "1");
}

#[tokio::test]
async fn a_reference_is_a_branch_a_tag_a_commit_or_the_beginning_of_one() {
    let it = world();
    let old = it.origin.commit("main", None, &workflow("old"));
    let new = it.origin.commit("main", Some(old), &workflow("new"));
    let me = Signature::now("A", "a@example.org").unwrap();
    let object = it.origin.repository().find_object(old, Some(ObjectType::Commit)).unwrap();
    let annotated = it.origin.repository().tag("v1", &object, &me, "first", false).unwrap();
    it.origin.repository().tag_lightweight("light", &object, false).unwrap();
    let annotated = it.origin.repository().find_object(annotated, None).unwrap();
    it.origin.repository().tag("nested", &annotated, &me, "a tag of a tag", false).unwrap();

    let digits = old.to_string();
    for reference in
        ["v1", "light", "nested", "refs/tags/v1", &digits, &digits[..7], &digits.to_uppercase()[..12]]
    {
        let fresh =
            mirror_of(&it.origin.url(), it.folder.path(), &format!("{}.git", reference.replace('/', "-")));
        let seen = fresh.resolve(reference).await.unwrap();
        assert_eq!(seen, revision(old), "{reference}");
        assert_eq!(program_at(&fresh, &seen).await, "old");
    }
    for reference in ["main", "HEAD", "refs/heads/main"] {
        assert_eq!(it.source.resolve(reference).await.unwrap(), revision(new), "{reference}");
    }
}

#[tokio::test]
async fn what_is_not_there_is_no_such_reference() {
    let it = world();
    assert!(
        matches!(it.source.resolve("main").await, Err(SourceError::NoSuchRef { .. })),
        "nothing was pushed yet"
    );
    it.origin.commit("main", None, &workflow("1"));
    let absent = "0123456789".repeat(4);
    for reference in
        ["nope", "v9", "0123456", &absent, "--upload-pack=x", "main~1", "main^{tree}", "", "a b", "@{-1}"]
    {
        let error = it.source.resolve(reference).await.unwrap_err();
        assert!(matches!(error, SourceError::NoSuchRef { .. }), "{reference}: {error:?}");
    }
}

#[tokio::test]
async fn a_rewritten_branch_takes_no_revision_away_that_was_resolved() {
    let it = world();
    let base = it.origin.commit("main", None, &workflow("base"));
    let lost = it.origin.commit("main", Some(base), &workflow("lost"));
    let lost = it.source.resolve("main").await.map(|seen| (seen, lost)).unwrap();
    let bundle = it.source.fetch(&lost.0, "workflows/orders", &[]).await.unwrap();

    let rewritten = it.origin.commit("main", Some(base), &workflow("rewritten"));
    let loose = lost.1.to_string();
    std::fs::remove_file(it.origin.path().join("objects").join(&loose[..2]).join(&loose[2..])).unwrap();
    assert_eq!(it.source.resolve("main").await.unwrap(), revision(rewritten));
    assert_eq!(it.source.fetch(&lost.0, "workflows/orders", &[]).await.unwrap(), bundle);
    assert_eq!(it.source.resolve(lost.0.as_str()).await.unwrap(), lost.0);

    // Git's own collection of what no ref holds leaves it alone.
    let collected = Command::new("git")
        .args(["gc", "--quiet", "--prune=now"])
        .env("GIT_DIR", it.folder.path().join("mirror.git"))
        .status();
    assert!(collected.unwrap().success());
    assert_eq!(it.source.fetch(&lost.0, "workflows/orders", &[]).await.unwrap(), bundle);

    // A machine that never saw it cannot have it.
    let other = mirror_of(&it.origin.url(), it.folder.path(), "other.git");
    assert!(matches!(other.discover(&lost.0).await, Err(SourceError::Gone(_))));
}

#[tokio::test]
async fn a_lost_copy_is_brought_again() {
    let it = world();
    it.origin.commit("main", None, &workflow("1"));
    let seen = it.source.resolve("main").await.unwrap();
    std::fs::remove_dir_all(it.folder.path().join("mirror.git")).unwrap();
    assert_eq!(program_at(&it.source, &seen).await, "1");
}

#[tokio::test]
async fn an_ancestor_needs_no_ref_of_its_own() {
    let it = world();
    let mut tip = None;
    for n in 0..5 {
        tip = Some(it.origin.commit("main", tip, &workflow(&n.to_string())));
        it.source.resolve("main").await.unwrap();
    }
    let mirror = git2::Repository::open_bare(it.folder.path().join("mirror.git")).unwrap();
    let kept: Vec<_> = mirror.references().unwrap().map(|it| it.unwrap().target()).collect();
    assert_eq!(kept, [tip]);
}

#[tokio::test]
async fn a_server_that_is_down_is_unreachable_and_what_is_here_can_still_be_read() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    for url in [format!("https://127.0.0.1:{port}/etl"), format!("ssh://git@127.0.0.1:{port}/etl")] {
        let error = mirror_of(&url, folder.path(), "down.git").resolve("main").await.unwrap_err();
        assert!(matches!(&error, SourceError::Unreachable { url: shown, .. } if *shown == url), "{error:?}");
    }

    let it = world();
    it.origin.commit("main", None, &workflow("1"));
    let seen = it.source.resolve("main").await.unwrap();
    std::fs::rename(it.origin.path(), it.folder.path().join("away.git")).unwrap();
    let error = it.source.resolve("main").await.unwrap_err();
    assert!(matches!(error, SourceError::Unreachable { .. }), "{error:?}");
    assert_eq!(
        it.source.resolve(seen.as_str()).await.unwrap(),
        seen,
        "a commit that is here needs no server"
    );
    assert_eq!(program_at(&it.source, &seen).await, "1");
}

#[tokio::test]
async fn a_submodule_is_refused_by_name_in_a_bundle_and_harmless_elsewhere() {
    let it = world();
    let repository = it.origin.repository();
    let mut index = Index::new().unwrap();
    let blob = repository.blob(b"worker_type: polars").unwrap();
    for (path, mode, id) in [
        ("workflows/a/config.yaml", 0o100_644, blob),
        ("workflows/b/config.yaml", 0o100_644, blob),
        ("workflows/b/vendored", 0o160_000, Oid::from_str(&"1".repeat(40)).unwrap()),
    ] {
        index.add(&entry(path, mode, id)).unwrap();
    }
    it.origin.commit_index("main", None, &mut index);
    let seen = it.source.resolve("main").await.unwrap();
    assert_eq!(it.source.discover(&seen).await.unwrap().len(), 2);
    assert!(it.source.fetch(&seen, "workflows/a", &[]).await.is_ok());
    let error = it.source.fetch(&seen, "workflows/b", &[]).await.unwrap_err();
    assert!(
        matches!(&error, SourceError::Refused { path, .. } if path == "workflows/b/vendored"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_tag_that_is_no_commit_is_refused() {
    let it = world();
    it.origin.commit("main", None, &workflow("1"));
    let blob = it.origin.repository().blob(b"not a commit").unwrap();
    it.origin.repository().reference("refs/tags/blob", blob, false, "").unwrap();
    assert!(matches!(it.source.resolve("blob").await, Err(SourceError::Refused { .. })));
}

#[tokio::test]
async fn a_branch_may_take_the_place_of_a_folder_of_branches() {
    let it = world();
    let first = it.origin.commit("feature/x", None, &workflow("1"));
    assert_eq!(it.source.resolve("feature/x").await.unwrap(), revision(first));
    it.origin.repository().find_reference("refs/heads/feature/x").unwrap().delete().unwrap();
    let second = it.origin.commit("feature", None, &workflow("2"));
    assert_eq!(it.source.resolve("feature").await.unwrap(), revision(second));
    assert!(matches!(it.source.resolve("feature/x").await, Err(SourceError::NoSuchRef { .. })));
}

#[tokio::test]
async fn over_the_network_pushes_abbreviations_and_rewrites_are_the_same() {
    let it = world();
    let first = it.origin.commit("main", None, &workflow("1"));
    let daemon = Daemon::serve(it.folder.path());
    let source = mirror_of(&daemon.url(), it.folder.path(), "networked.git");
    assert_eq!(source.resolve("main").await.unwrap(), revision(first));
    let second = it.origin.commit("main", Some(first), &workflow("2"));
    assert_eq!(source.resolve("main").await.unwrap(), revision(second));
    let rewritten = it.origin.commit("main", None, &workflow("3"));
    assert_eq!(source.resolve(&rewritten.to_string()[..10]).await.unwrap(), revision(rewritten));
    assert_eq!(program_at(&source, &revision(second)).await, "2");

    let local = it.source.resolve("main").await.unwrap();
    let here = it.source.fetch(&local, "workflows/orders", &[]).await.unwrap();
    assert_eq!(source.fetch(&local, "workflows/orders", &[]).await.unwrap(), here);
}

#[tokio::test]
async fn a_flood_is_cut_off() {
    let it = world();
    let mut files = workflow("1");
    let noise: String = (0..40_000_u32).map(|n| format!("{:x}", n.wrapping_mul(2_654_435_761))).collect();
    files.insert("noise".to_owned(), data_runner_testkit::memory::workflow_source::RepoFile::text(noise));
    it.origin.commit("main", None, &files);
    let daemon = Daemon::serve(it.folder.path());
    let access = data_runner_git::Access { largest_fetch: 10_000, ..access() };
    let source =
        GitSource::new(&daemon.url(), it.folder.path().join("f.git"), access, Limits::default()).unwrap();
    let error = source.resolve("main").await.unwrap_err();
    assert!(matches!(error, SourceError::Refused { .. }), "{error:?}");
}

#[tokio::test]
async fn a_history_tells_who_changed_it_and_leaves_merges_out_that_change_nothing() {
    let it = world();
    let first = it.origin.commit("main", None, &workflow("1"));
    let side = it.origin.commit("side", Some(first), &workflow("2"));
    let tree = it.origin.repository().find_commit(side).unwrap().tree().unwrap();
    let me = Signature::now("A", "a@example.org").unwrap();
    let parents = [first, side].map(|parent| it.origin.repository().find_commit(parent).unwrap());
    let merge = it
        .origin
        .repository()
        .commit(Some("refs/heads/merged"), &me, &me, "Merge side", &tree, &[&parents[0], &parents[1]])
        .unwrap();
    let seen = it.source.resolve("merged").await.unwrap();
    assert_eq!(seen, revision(merge));
    let history = it.source.history(&seen, &["workflows/orders".to_owned()], 10).await.unwrap();
    let found: Vec<_> = history.iter().map(|version| version.revision.clone()).collect();
    assert_eq!(found, [revision(side), revision(first)]);
    assert!(history.iter().all(|version| version.at.is_some() && version.subject.is_some()), "{history:?}");
    let diff = it.source.diff(&revision(first), &seen, &["workflows/orders".to_owned()]).await.unwrap();
    assert!(diff.starts_with("diff --git a/workflows/orders/workflow.py"), "{diff}");
}

#[tokio::test]
async fn a_diff_that_is_too_large_is_cut_at_the_end_of_a_line() {
    let it = world();
    let first = it.origin.commit("main", None, &workflow("1"));
    let long = "a line of some length\n".repeat(100_000);
    it.origin.commit("main", Some(first), &workflow(&long));
    let seen = it.source.resolve("main").await.unwrap();
    let diff = it.source.diff(&revision(first), &seen, &["workflows/orders".to_owned()]).await.unwrap();
    assert!(diff.len() <= 1 << 20 && diff.len() > 1_000_000 && diff.ends_with("length\n"), "{}", diff.len());
}
