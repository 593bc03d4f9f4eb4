//! The contract of [`WorkflowSource`], a clause a function;
//! [`workflow_source_contract!`](crate::workflow_source_contract) makes one test of each.

use std::io::Read as _;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use data_runner_core::id::Revision;
use data_runner_core::port::{SourceError, WorkflowSource};

use crate::memory::workflow_source::{RepoFile, RepoFiles};

/// A source under test.
#[async_trait]
pub trait SourceFixture: Send + Sync {
    /// The source.
    fn source(&self) -> Arc<dyn WorkflowSource>;

    /// A source of the same repository that shares nothing with the first, as on another machine.
    fn elsewhere(&self) -> Arc<dyn WorkflowSource>;

    /// The reference that `publish` moves.
    fn reference(&self) -> &str;

    /// Makes the repository hold `files` and nothing else.
    async fn publish(&self, files: &RepoFiles);
}

/// An entry of a bundle, as it was found in the archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BundleEntry {
    /// Its path.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// Its content, or a link's target.
    pub file: RepoFile,
}

/// Reads a bundle, and checks that nothing in it tells when, where or by whom it was made.
pub fn unpack(bundle: &[u8]) -> Vec<BundleEntry> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(bundle).unwrap());
    let entries = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let header = entry.header().clone();
        assert_eq!((header.mtime().unwrap(), header.uid().unwrap(), header.gid().unwrap()), (0, 0, 0));
        assert_eq!((header.username(), header.groupname()), (Ok(Some("")), Ok(Some(""))));
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mode = header.mode().unwrap();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).unwrap();
        let link = entry.link_name().unwrap().map(|target| target.to_str().unwrap().to_owned());
        let file = match (header.entry_type(), link) {
            (tar::EntryType::Symlink, Some(target)) => RepoFile::Link(target),
            (tar::EntryType::Regular, None) if mode & 0o111 != 0 => RepoFile::Executable(bytes.into()),
            (tar::EntryType::Regular, None) => RepoFile::Plain(bytes.into()),
            (other, link) => panic!("a bundle holds files and links only, not {other:?} {link:?}"),
        };
        BundleEntry { path, mode, file }
    });
    entries.collect()
}

fn files<const N: usize>(files: [(&str, RepoFile); N]) -> RepoFiles {
    files.into_iter().map(|(path, file)| (path.to_owned(), file)).collect()
}

fn text(text: &str) -> RepoFile {
    RepoFile::text(text)
}

fn orders() -> RepoFiles {
    files([
        ("README.md", text("hello")),
        ("lib/dates.py", text("import datetime")),
        ("lib/deep/er.py", text("x = 1")),
        ("library/other.py", text("not lib")),
        ("workflows/orders/config.yaml", text("worker_type: polars")),
        ("workflows/orders/workflow.py", text("print(1)")),
        ("workflows/orders/bin/tool.sh", RepoFile::Executable(Bytes::from_static(b"#!/bin/sh\n"))),
        ("workflows/orders-2/config.yaml", text("worker_type: duckdb")),
    ])
}

async fn published(fixture: &dyn SourceFixture, files: &RepoFiles) -> Revision {
    fixture.publish(files).await;
    fixture.source().resolve(fixture.reference()).await.unwrap()
}

async fn refusal(fixture: &dyn SourceFixture, extra: (&str, RepoFile)) -> String {
    let name = extra.0.to_owned();
    let mut files = orders();
    files.insert(name.clone(), extra.1);
    let revision = published(fixture, &files).await;
    let error = fixture.source().fetch(&revision, "workflows/orders", &[]).await.unwrap_err();
    let SourceError::Refused { path, message } = error else {
        panic!("{name} should be refused by its name, not {error:?}");
    };
    assert_eq!(path, name, "{message}");
    message
}

/// `resolve` sees what is new, and only that.
pub async fn resolve_sees_what_is_new(fixture: &dyn SourceFixture) {
    let first = published(fixture, &orders()).await;
    assert_eq!(fixture.source().resolve(fixture.reference()).await.unwrap(), first);
    let mut changed = orders();
    changed.insert("workflows/orders/workflow.py".to_owned(), text("print(2)"));
    let second = published(fixture, &changed).await;
    assert_ne!(first, second);
    assert_eq!(
        fixture.source().read(&second, "workflows/orders/workflow.py").await.unwrap(),
        Bytes::from_static(b"print(2)")
    );
}

/// The folders with a configuration are found, in order, nested ones too, with the files in them.
pub async fn folders_are_found_in_order(fixture: &dyn SourceFixture) {
    let mut repository = orders();
    repository.extend(files([
        ("workflows/team/a/config.yaml", text("worker_type: polars")),
        ("workflows/notes/readme.md", text("no workflow")),
        ("workflows/config.yaml", text("not in a folder of its own")),
        ("elsewhere/b/config.yaml", text("not below workflows")),
    ]));
    let revision = published(fixture, &repository).await;
    let found = fixture.source().discover(&revision).await.unwrap();
    let paths: Vec<_> = found.iter().map(|folder| folder.path.as_str()).collect();
    assert_eq!(paths, ["workflows/orders", "workflows/orders-2", "workflows/team/a"]);
    assert_eq!(found[0].files, ["bin/tool.sh", "config.yaml", "workflow.py"]);
    assert_eq!(found[0].config, Bytes::from_static(b"worker_type: polars"));
}

/// A repository without workflows has none, and that is no error.
pub async fn a_repository_without_workflows_has_none(fixture: &dyn SourceFixture) {
    let revision = published(fixture, &files([("README.md", text("nothing here"))])).await;
    assert_eq!(fixture.source().discover(&revision).await.unwrap(), []);
}

/// What is wrong with one workflow does not hide another.
pub async fn one_broken_workflow_does_not_hide_another(fixture: &dyn SourceFixture) {
    let mut repository = orders();
    repository.extend(files([
        ("workflows/broken/config.yaml", RepoFile::Plain(Bytes::from_static(&[0xff, 0xfe, 0, b'[']))),
        ("workflows/dangling/config.yaml", RepoFile::Link("../../../etc/passwd".to_owned())),
        ("workflows/pointer/config.yaml", text(POINTER)),
    ]));
    let revision = published(fixture, &repository).await;
    let found = fixture.source().discover(&revision).await.unwrap();
    assert_eq!(found.len(), 5, "{found:?}");
    assert!(fixture.source().fetch(&revision, "workflows/orders", &[]).await.is_ok());
}

/// `read` gives a file of at most 1 MiB, and says what is not there.
pub async fn read_gives_one_file(fixture: &dyn SourceFixture) {
    let mut repository = orders();
    repository.insert("large".to_owned(), RepoFile::Plain(vec![b'x'; 1 << 20].into()));
    repository.insert("too-large".to_owned(), RepoFile::Plain(vec![b'x'; (1 << 20) + 1].into()));
    repository.insert("link".to_owned(), RepoFile::Link("lib/dates.py".to_owned()));
    let revision = published(fixture, &repository).await;
    let source = fixture.source();
    assert_eq!(source.read(&revision, "lib/dates.py").await.unwrap(), Bytes::from_static(b"import datetime"));
    assert_eq!(source.read(&revision, "link").await.unwrap(), Bytes::from_static(b"import datetime"));
    assert_eq!(source.read(&revision, "large").await.unwrap().len(), 1 << 20);
    assert!(matches!(source.read(&revision, "too-large").await, Err(SourceError::Refused { .. })));
    for missing in ["nowhere", "lib", "lib/dates.py/x"] {
        let error = source.read(&revision, missing).await.unwrap_err();
        assert!(matches!(error, SourceError::NoSuchPath { .. }), "{missing}: {error:?}");
    }
}

/// A bundle holds the folder and what it includes, in order, under their paths, and nothing else.
pub async fn a_bundle_holds_folder_and_includes_alone(fixture: &dyn SourceFixture) {
    let revision = published(fixture, &orders()).await;
    let includes = ["lib/".to_owned(), "README.md".to_owned(), "lib/deep".to_owned()];
    let bundle = fixture.source().fetch(&revision, "workflows/orders", &includes).await.unwrap();
    let held = unpack(&bundle);
    let paths: Vec<_> = held.iter().map(|entry| entry.path.as_str()).collect();
    assert_eq!(
        paths,
        [
            "README.md",
            "lib/dates.py",
            "lib/deep/er.py",
            "workflows/orders/bin/tool.sh",
            "workflows/orders/config.yaml",
            "workflows/orders/workflow.py",
        ]
    );
    for entry in held {
        assert_eq!(orders()[&entry.path], entry.file);
        assert_eq!(entry.mode, if entry.path.ends_with(".sh") { 0o755 } else { 0o644 });
    }
}

/// The same revision gives the same bytes, at every time and on every machine.
pub async fn a_bundle_is_the_same_everywhere(fixture: &dyn SourceFixture) {
    let revision = published(fixture, &orders()).await;
    let includes = ["lib".to_owned()];
    let first = fixture.source().fetch(&revision, "workflows/orders", &includes).await.unwrap();
    let again = fixture.source().fetch(&revision, "workflows/orders", &includes).await.unwrap();
    assert_eq!(first, again);
    let elsewhere = fixture.elsewhere();
    assert_eq!(elsewhere.resolve(fixture.reference()).await.unwrap(), revision);
    assert_eq!(elsewhere.fetch(&revision, "workflows/orders", &includes).await.unwrap(), first);
}

/// A path that is longer than the field for it in an archive comes through.
pub async fn long_paths_come_through(fixture: &dyn SourceFixture) {
    let long = format!("workflows/orders/{}/{}.py", "d".repeat(120), "f".repeat(120));
    let mut repository = orders();
    repository.insert(long.clone(), text("x"));
    let revision = published(fixture, &repository).await;
    let bundle = fixture.source().fetch(&revision, "workflows/orders", &[]).await.unwrap();
    assert!(unpack(&bundle).iter().any(|entry| entry.path == long));
}

/// A link that stays in the bundle comes along as a link.
pub async fn a_link_within_the_bundle_comes_along(fixture: &dyn SourceFixture) {
    let mut repository = orders();
    let link = RepoFile::Link("../../lib/dates.py".to_owned());
    repository.insert("workflows/orders/dates.py".to_owned(), link.clone());
    let revision = published(fixture, &repository).await;
    let bundle = fixture.source().fetch(&revision, "workflows/orders", &["lib".to_owned()]).await.unwrap();
    let held = unpack(&bundle).into_iter().find(|entry| entry.path == "workflows/orders/dates.py");
    assert_eq!(held.map(|entry| entry.file), Some(link));
}

/// A link that leaves the bundle is refused by its name.
pub async fn a_link_that_leaves_the_bundle_is_refused(fixture: &dyn SourceFixture) {
    for target in ["/etc/passwd", "../../../etc/passwd", "../../lib/dates.py", "nowhere", "../..", "link"] {
        refusal(fixture, ("workflows/orders/link", RepoFile::Link(target.to_owned()))).await;
    }
}

/// A Git LFS pointer is refused by its name: a job would read it instead of its data.
pub async fn an_lfs_pointer_is_refused(fixture: &dyn SourceFixture) {
    let message = refusal(fixture, ("workflows/orders/data.parquet", text(POINTER))).await;
    assert!(message.contains("LFS"), "{message}");
}

const POINTER: &str = "version https://git-lfs.github.com/spec/v1\n\
    oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";

/// A path that is not there, or leaves the repository, gives no bundle.
pub async fn paths_are_checked(fixture: &dyn SourceFixture) {
    let revision = published(fixture, &orders()).await;
    let source = fixture.source();
    for missing in ["workflows/none", "workflows/order"] {
        let error = source.fetch(&revision, missing, &[]).await.unwrap_err();
        assert!(matches!(error, SourceError::NoSuchPath { .. }), "{missing}: {error:?}");
        let error = source.fetch(&revision, "workflows/orders", &[missing.to_owned()]).await.unwrap_err();
        assert!(matches!(error, SourceError::NoSuchPath { .. }), "{missing}: {error:?}");
    }
    for bad in ["", "/", "/etc", "..", "../x", "workflows/../.."] {
        let error = source.fetch(&revision, "workflows/orders", &[bad.to_owned()]).await.unwrap_err();
        assert!(matches!(error, SourceError::Refused { .. }), "{bad:?}: {error:?}");
        let error = source.read(&revision, bad).await.unwrap_err();
        assert!(matches!(error, SourceError::Refused { .. }), "{bad:?}: {error:?}");
    }
}

/// An earlier revision gives what it gave before, or says that it is gone.
pub async fn an_earlier_revision_stays_or_is_gone(fixture: &dyn SourceFixture) {
    let first = published(fixture, &orders()).await;
    let before = fixture.source().fetch(&first, "workflows/orders", &[]).await.unwrap();
    let mut changed = orders();
    changed.insert("workflows/orders/workflow.py".to_owned(), text("print(2)"));
    published(fixture, &changed).await;
    match fixture.source().fetch(&first, "workflows/orders", &[]).await {
        Ok(after) => assert_eq!(after, before),
        Err(SourceError::Gone(revision)) => assert_eq!(revision, first),
        Err(other) => panic!("neither the same nor gone: {other:?}"),
    }
}

/// A revision that never was is gone.
pub async fn an_unknown_revision_is_gone(fixture: &dyn SourceFixture) {
    published(fixture, &orders()).await;
    for digits in [40, 64] {
        let unknown: Revision = "0123456789abcdef".repeat(4)[..digits].parse().unwrap();
        let source = fixture.source();
        assert!(matches!(source.discover(&unknown).await, Err(SourceError::Gone(_))));
        assert!(matches!(source.read(&unknown, "README.md").await, Err(SourceError::Gone(_))));
        assert!(matches!(source.fetch(&unknown, "workflows/orders", &[]).await, Err(SourceError::Gone(_))));
    }
}

/// Three revisions: the workflow's first one, one that changed another file, and the workflow's second one.
async fn three(fixture: &dyn SourceFixture) -> [Revision; 3] {
    let mut repository = orders();
    let first = published(fixture, &repository).await;
    repository.insert("README.md".to_owned(), text("hello again"));
    let other = published(fixture, &repository).await;
    repository.insert("workflows/orders/workflow.py".to_owned(), text("print(2)"));
    let second = published(fixture, &repository).await;
    [first, other, second]
}

/// A history names the revisions that changed something below the paths, the newest first.
pub async fn a_history_names_what_changed(fixture: &dyn SourceFixture) {
    let [first, other, second] = three(fixture).await;
    let source = fixture.source();
    let history = async |revision: &Revision, paths: &[&str], limit| {
        let paths: Vec<String> = paths.iter().map(|path| (*path).to_owned()).collect();
        let versions = source.history(revision, &paths, limit).await?;
        Ok::<Vec<Revision>, SourceError>(versions.into_iter().map(|version| version.revision).collect())
    };
    let all = history(&second, &["workflows/orders"], 10).await.unwrap();
    if all.len() == 1 {
        // It keeps no history.
        assert_eq!(all, [second]);
        return;
    }
    assert_eq!(all, [second.clone(), first.clone()]);
    let newest = history(&second, &["workflows/orders"], 1).await.unwrap();
    assert_eq!(newest, std::slice::from_ref(&second));
    let earlier = history(&other, &["workflows/orders"], 10).await.unwrap();
    assert_eq!(earlier, std::slice::from_ref(&first));
    let both = history(&second, &["workflows/orders", "README.md"], 10).await.unwrap();
    assert_eq!(both, [second.clone(), other, first]);
    assert_eq!(history(&second, &["nowhere"], 10).await.unwrap(), []);
    assert!(matches!(history(&second, &["../x"], 10).await, Err(SourceError::Refused { .. })));
}

/// A diff shows what is different below the paths, and is empty where nothing is.
pub async fn a_diff_shows_what_is_different(fixture: &dyn SourceFixture) {
    let [first, other, second] = three(fixture).await;
    let source = fixture.source();
    let paths = ["workflows/orders".to_owned()];
    assert_eq!(source.diff(&second, &second, &paths).await.unwrap(), "");
    match source.diff(&first, &second, &paths).await {
        Ok(diff) => {
            for wanted in ["workflows/orders/workflow.py", "-print(1)", "+print(2)"] {
                assert!(diff.contains(wanted), "{diff}");
            }
            assert!(!diff.contains("README"), "{diff}");
            assert_eq!(source.diff(&first, &other, &paths).await.unwrap(), "");
        }
        Err(SourceError::Gone(revision)) => assert_eq!(revision, first, "it keeps no history"),
        Err(other) => panic!("neither a diff nor gone: {other:?}"),
    }
}

/// Many callers at once get the same.
pub async fn calls_run_in_parallel(fixture: &dyn SourceFixture) {
    fixture.publish(&orders()).await;
    let calls: Vec<_> = (0..8)
        .map(|_| {
            let (source, reference) = (fixture.source(), fixture.reference().to_owned());
            tokio::spawn(async move {
                let revision = source.resolve(&reference).await.unwrap();
                source.fetch(&revision, "workflows/orders", &[]).await.unwrap()
            })
        })
        .collect();
    let mut bundles = Vec::new();
    for call in calls {
        bundles.push(call.await.unwrap());
    }
    bundles.dedup();
    assert_eq!(bundles.len(), 1);
}

/// One test for each clause of the contract; `$fixture` is an expression that makes a fresh fixture.
#[macro_export]
macro_rules! workflow_source_contract {
    ($fixture:expr) => {
        $crate::workflow_source_contract!(@clauses $fixture;
            resolve_sees_what_is_new
            folders_are_found_in_order
            a_repository_without_workflows_has_none
            one_broken_workflow_does_not_hide_another
            read_gives_one_file
            a_bundle_holds_folder_and_includes_alone
            a_bundle_is_the_same_everywhere
            long_paths_come_through
            a_link_within_the_bundle_comes_along
            a_link_that_leaves_the_bundle_is_refused
            an_lfs_pointer_is_refused
            paths_are_checked
            an_earlier_revision_stays_or_is_gone
            an_unknown_revision_is_gone
            a_history_names_what_changed
            a_diff_shows_what_is_different
            calls_run_in_parallel
        );
    };
    (@clauses $fixture:expr; $($clause:ident)*) => {$(
        #[tokio::test]
        async fn $clause() {
            $crate::contract::workflow_source::$clause(&$fixture).await;
        }
    )*};
}
