//! What the checked queries of data-runner-sqlite need to compile without a database: made anew, or compared.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use sqlx::migrate::Migrator;
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection};

/// Compiles data-runner-sqlite against a scratch database that has every migration, and keeps what sqlx learns of the
/// queries in `data-runner-sqlite/.sqlx`. With `check` it changes nothing and only compares.
///
/// # Errors
/// If a query does not fit the schema (the compiler's message is printed), or, with `check`, if what is kept is not
/// what the queries and migrations give.
pub fn prepare(check: bool) -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let package = root.join("data-runner-sqlite");
    let scratch = tempfile::tempdir().context("no scratch folder")?;
    let database = scratch.path().join("scratch.db");
    let fresh = scratch.path().join("queries");
    std::fs::create_dir(&fresh)?;
    migrate(&package.join("migrations"), &database)?;
    compile(root, &package, &database, &fresh)?;

    let kept_folder = package.join(".sqlx");
    let (made, kept) = (read(&fresh)?, read(&kept_folder)?);
    ensure!(!made.is_empty(), "the compiler looked at no query; is data-runner-sqlite as it should be?");
    if made == kept {
        println!("{} queries, all as they are kept", made.len());
        return Ok(());
    }
    if check {
        bail!(
            "data-runner-sqlite/.sqlx is not what its queries give; run `cargo xtask sqlx` and commit the result"
        );
    }
    write(&kept_folder, &made, &kept)?;
    println!("{} queries kept", made.len());
    Ok(())
}

fn migrate(migrations: &Path, database: &Path) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut connection =
            SqliteConnectOptions::new().filename(database).create_if_missing(true).connect().await?;
        Migrator::new(migrations).await?.run(&mut connection).await.context("the migrations do not run")?;
        connection.close().await?;
        Ok(())
    })
}

fn compile(root: &Path, package: &Path, database: &Path, fresh: &Path) -> anyhow::Result<()> {
    // The macros run only if cargo thinks that something has changed.
    let library = package.join("src/lib.rs");
    std::fs::File::options().append(true).open(&library)?.set_modified(std::time::SystemTime::now())?;
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(root)
        .args(["check", "--quiet", "--package", "data-runner-sqlite", "--lib"])
        .env("DATABASE_URL", format!("sqlite://{}", database.display()))
        .env("SQLX_OFFLINE", "false")
        .env("SQLX_OFFLINE_DIR", fresh)
        .status()
        .context("cargo does not start")?;
    ensure!(status.success(), "the queries do not fit the schema");
    Ok(())
}

/// The files of a folder by name; none if it is not there.
fn read(folder: &Path) -> anyhow::Result<BTreeMap<PathBuf, Vec<u8>>> {
    let mut files = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            let name = path.file_name().map(PathBuf::from).context("a file has a name")?;
            files.insert(name, std::fs::read(&path)?);
        }
    }
    Ok(files)
}

fn write(
    folder: &Path,
    made: &BTreeMap<PathBuf, Vec<u8>>,
    kept: &BTreeMap<PathBuf, Vec<u8>>,
) -> anyhow::Result<()> {
    std::fs::create_dir_all(folder)?;
    for name in kept.keys().filter(|name| !made.contains_key(*name)) {
        std::fs::remove_file(folder.join(name))?;
    }
    for (name, content) in made {
        std::fs::write(folder.join(name), content)?;
    }
    Ok(())
}
