//! `artifact`: files that jobs left.

use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

use data_runner_core::id::{ArtifactId, Hashing};
use data_runner_rest::api::{Artifact, Page};
use jiff::Timestamp;

use super::context::Context;
use crate::args::{ArtifactCommand, ArtifactGetArgs};
use crate::client::encode;
use crate::error::Error;
use crate::output::{Field, Table, cut, say, style, time, whole};

const FIND: &str = "`data-runner artifact list EXECUTION` shows what there is";

/// Does what was asked about files that jobs left.
pub async fn artifact(command: &ArtifactCommand, context: &Context) -> Result<u8, Error> {
    match command {
        ArtifactCommand::List { execution } => list(execution, context).await?,
        ArtifactCommand::Get(args) => get(args, context).await?,
    }
    Ok(0)
}

async fn list(execution: &str, context: &Context) -> Result<(), Error> {
    let all = of(execution, context).await?;
    if all.is_empty() && context.output.is_table() {
        say("nothing is kept of it; `artifacts:` in its config.yaml says what shall be");
        return Ok(());
    }
    let draw = |all: &[Artifact]| context.output.draw(&table(all, Timestamp::now()));
    context.output.many(&all, |it| it.id.to_string(), draw)
}

async fn of(execution: &str, context: &Context) -> Result<Vec<Artifact>, Error> {
    let path = format!("/executions/{}/artifacts", encode(execution));
    let page: Page<Artifact> = context.client.get(&path).await?;
    Ok(page.items)
}

fn table(artifacts: &[Artifact], now: Timestamp) -> Table {
    let retried = artifacts.iter().any(|it| it.attempt != 1);
    let mut columns = vec![whole("ID"), whole("NAME"), whole("SIZE"), whole("KEPT FOR"), cut("PATH")];
    if retried {
        columns.insert(1, whole("ATTEMPT"));
    }
    let mut table = Table::new(columns);
    for artifact in artifacts {
        let mut row = vec![
            Field::new(artifact.id.to_string()),
            Field::new(&artifact.name),
            Field::new(time::bytes(artifact.bytes)),
            Field::new(time::duration(time::between(now, artifact.kept_until))),
            Field::new(&artifact.path),
        ];
        if retried {
            row.insert(1, Field::new(artifact.attempt.to_string()));
        }
        table.row(row);
    }
    table
}

async fn get(args: &ArtifactGetArgs, context: &Context) -> Result<(), Error> {
    if let Some(folder) = &args.all {
        return get_all(&args.artifact, folder, context).await;
    }
    let wanted = match &args.execution {
        Some(execution) => named(of(execution, context).await?, &args.artifact)?,
        None => args.artifact.parse::<ArtifactId>().map(Wanted::of).map_err(|_| {
            Error::usage(
                format!("{:?} is no id of an artifact", args.artifact),
                "give its id, or a path or name with --execution EXECUTION",
            )
        })?,
    };
    let file = match &args.file {
        Some(file) if file.as_os_str() == "-" => return to_stdout(wanted.id, context).await,
        Some(file) => file.clone(),
        None => PathBuf::from(match wanted.name {
            Some(name) => name,
            None => own_name(&open(wanted.id, context).await?)?,
        }),
    };
    download(wanted.id, &file, context).await?;
    say(&format!("{} {}", style::good("wrote"), file.display()));
    Ok(())
}

/// A file that is asked for, with the name that it is written under where that is known.
struct Wanted {
    id: ArtifactId,
    name: Option<String>,
}

impl Wanted {
    const fn of(id: ArtifactId) -> Self {
        Self { id, name: None }
    }
}

/// The one file of that path, or else of that name, of the newest attempt that has such a one.
fn named(mut all: Vec<Artifact>, given: &str) -> Result<Wanted, Error> {
    let has_path = all.iter().any(|it| it.path == given);
    all.retain(|it| if has_path { it.path == given } else { it.name == given });
    let newest = all.iter().map(|it| it.attempt).max();
    all.retain(|it| Some(it.attempt) == newest);
    match &all[..] {
        [] => Err(Error::not_found(format!("the execution has no artifact {given:?}"), FIND)),
        [one, rest @ ..] if rest.iter().all(|it| it.sha256 == one.sha256 && it.path == one.path) => {
            let name = one.path.rsplit('/').next().unwrap_or(&one.path).to_owned();
            Ok(Wanted { id: one.id, name: Some(name) })
        }
        many => {
            let paths: Vec<&str> = many.iter().take(5).map(|it| it.path.as_str()).collect();
            Err(Error::usage(
                format!("`{given}` are {} files: {}", many.len(), paths.join(", ")),
                "name one by its path or id, or get them all with `artifact get EXECUTION --all FOLDER`",
            ))
        }
    }
}

async fn get_all(execution: &str, folder: &Path, context: &Context) -> Result<(), Error> {
    let mut all = of(execution, context).await?;
    let newest = all.iter().map(|it| it.attempt).max();
    all.retain(|it| Some(it.attempt) == newest);
    // Of one path there is one file, under whatever names.
    all.sort_by(|a, b| a.path.cmp(&b.path));
    all.dedup_by(|a, b| a.path == b.path);
    if all.is_empty() {
        return Err(Error::not_found("nothing is kept of that execution", FIND));
    }
    for artifact in &all {
        let file = folder.join(inside(&artifact.path)?);
        if let Some(above) = file.parent() {
            std::fs::create_dir_all(above)
                .map_err(|source| Error::io(format!("cannot make {}", above.display()), source))?;
        }
        download(artifact.id, &file, context).await?;
        say(&format!("{} {}", style::good("wrote"), file.display()));
    }
    Ok(())
}

/// A path that a server gave, if it stays below where it is put.
fn inside(path: &str) -> Result<&Path, Error> {
    let relative = Path::new(path);
    if !path.is_empty() && relative.components().all(|part| matches!(part, Component::Normal(_))) {
        return Ok(relative);
    }
    Err(Error::failed(
        format!("the server gave the path {path:?}, which leads elsewhere"),
        "get it by its id",
    ))
}

async fn open(id: ArtifactId, context: &Context) -> Result<reqwest::Response, Error> {
    let answer = context.client.stream(&format!("/artifacts/{id}"), "*/*").await;
    answer.map_err(|error| error.helping_to_find(FIND))
}

/// The name that the server gives a file.
fn own_name(answer: &reqwest::Response) -> Result<String, Error> {
    let given = answer.headers().get(reqwest::header::CONTENT_DISPOSITION).and_then(|it| it.to_str().ok());
    let encoded = given.and_then(|it| it.split_once("filename*=UTF-8''")).map(|(_, name)| name);
    let name = encoded.and_then(decode).filter(|name| inside(name).is_ok() && !name.contains('/'));
    name.ok_or_else(|| {
        Error::usage("the server gives the file no name", "say where to write it with --file FILE")
    })
}

/// The text of a name in a header.
fn decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let digits = [rest.next()?, rest.next()?];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).ok()
}

/// Writes a file, whole or not at all.
async fn download(id: ArtifactId, file: &Path, context: &Context) -> Result<(), Error> {
    let folder = file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let failed = |source| Error::io(format!("cannot write {}", file.display()), source);
    let mut part = tempfile::Builder::new().prefix(".download-").tempfile_in(folder).map_err(failed)?;
    copy(id, context, |piece| part.write_all(piece).map_err(failed)).await?;
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    part.as_file().set_permissions(permissions).map_err(failed)?;
    part.persist(file).map(drop).map_err(|error| failed(error.error))
}

async fn to_stdout(id: ArtifactId, context: &Context) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    copy(id, context, |piece| Ok(out.write_all(piece)?)).await?;
    Ok(out.flush()?)
}

/// Reads a file to its end, and checks it.
async fn copy(
    id: ArtifactId,
    context: &Context,
    mut write: impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut answer = open(id, context).await?;
    let tag = answer.headers().get(reqwest::header::ETAG).and_then(|it| it.to_str().ok());
    let expected = tag.map(|tag| tag.trim_matches('"').to_owned());
    let mut hashing = Hashing::default();
    while let Some(piece) = answer.chunk().await.map_err(|source| context.client.unreachable(source))? {
        hashing.take(&piece);
        write(&piece)?;
    }
    let hash = hashing.finish().to_string();
    if expected.is_some_and(|expected| expected != hash) {
        return Err(Error::failed("what came is not the file that is kept", "try again"));
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::panic)]
mod tests {
    use super::*;

    fn artifact(n: u64, name: &str, path: &str, attempt: u32) -> Artifact {
        let moment = |text: &str| text.parse().unwrap();
        Artifact {
            id: format!("019863f1-0000-7000-8000-{n:012}").parse().unwrap(),
            execution: "019863f1-9a40-7c3e-8f00-3a5b7d9e1c2f".parse().unwrap(),
            attempt,
            name: name.to_owned(),
            path: path.to_owned(),
            bytes: 1_234_567 * n,
            sha256: path.to_owned(),
            created_at: moment("2026-08-01T06:00:00Z"),
            kept_until: moment("2026-08-31T06:00:00Z"),
        }
    }

    #[test]
    fn a_list_tells_sizes_and_how_long_they_stay() {
        let all = [artifact(1, "report", "out/a.csv", 1), artifact(2, "report", "out/b.csv", 1)];
        let now = "2026-08-02T06:00:00Z".parse().unwrap();
        insta::assert_snapshot!("artifacts", table(&all, now).render(Some(100), false));
        assert!(table(&[artifact(1, "a", "b", 2)], now).render(Some(100), false).contains("ATTEMPT"));
    }

    #[test]
    fn a_file_is_named_by_its_path_or_by_a_name_that_only_it_has() {
        let all = || {
            vec![
                artifact(1, "report", "out/a.csv", 1),
                artifact(2, "report", "out/a.csv", 2),
                artifact(3, "all", "out/a.csv", 2),
                artifact(4, "all", "out/b.csv", 2),
            ]
        };
        assert_eq!(named(all(), "report").unwrap().id, all()[1].id);
        let by_path = named(all(), "out/b.csv").unwrap();
        assert_eq!((by_path.id, by_path.name.as_deref()), (all()[3].id, Some("b.csv")));
        assert_eq!(named(all(), "out/a.csv").unwrap().id, all()[1].id, "the same file under two names");
        assert!(matches!(named(all(), "all"), Err(Error::Usage { .. })));
        assert!(matches!(named(all(), "gone"), Err(Error::NotFound { .. })));
    }

    #[test]
    fn a_path_that_leads_elsewhere_is_not_written_to() {
        for path in ["/etc/x", "../x", "a/../../x", "", "./a"] {
            assert!(inside(path).is_err(), "{path}");
        }
        assert!(inside("out/ä b.csv").is_ok());
    }

    #[test]
    fn a_name_comes_back_as_it_was_encoded() {
        assert_eq!(decode("%C3%A4%20b%22.csv").as_deref(), Some("ä b\".csv"));
        for bad in ["%", "%C", "%zz", "%FF"] {
            assert_eq!(decode(bad), None, "{bad}");
        }
    }
}
