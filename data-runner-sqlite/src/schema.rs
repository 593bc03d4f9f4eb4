//! The schema and its versions.

use data_runner_core::port::StateError;
use sqlx::SqliteConnection;
use sqlx::migrate::{MigrateError, Migrator};

use crate::connect::Options;
use crate::error::{corrupt, store_error};
use crate::lock::FileLock;

static MIGRATIONS: Migrator = sqlx::migrate!("./migrations");

/// Brings the schema to this program's version.
///
/// A schema is changed under the lock of the tenure only: no supervisor works on it meanwhile, also none of an
/// earlier version.
///
/// # Errors
/// `TooNew` for a file of a later version, `Held` where a change is due and a supervisor is at work.
pub(crate) async fn bring_up(options: &Options, connection: &mut SqliteConnection) -> Result<(), StateError> {
    let known = MIGRATIONS.iter().map(|migration| migration.version).max().unwrap_or(0);
    let found = version(connection).await?;
    if found > known {
        return Err(too_new(found, known));
    }
    if found == known {
        return Ok(());
    }
    let _lock = FileLock::take(&options.lock_file())?;
    let pool = options.migrating_pool().await?;
    let result = MIGRATIONS.run(&pool).await;
    pool.close().await;
    result.map_err(|error| migration_error(error, known))
}

/// The newest migration that was applied; 0 for an empty file.
async fn version(connection: &mut SqliteConnection) -> Result<i64, StateError> {
    // The table of migrations is sqlx's own and may not be there yet, so these are not checked at compile time.
    let tables: i64 =
        sqlx::query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'")
            .fetch_one(&mut *connection)
            .await
            .map_err(store_error)?;
    if tables == 0 {
        return Ok(0);
    }
    let version: Option<i64> = sqlx::query_scalar("SELECT max(version) FROM _sqlx_migrations WHERE success")
        .fetch_one(connection)
        .await
        .map_err(store_error)?;
    Ok(version.unwrap_or(0))
}

fn too_new(found: i64, known: i64) -> StateError {
    StateError::TooNew {
        found,
        known,
        hint: "start the version that wrote it, or restore a backup that is older".to_owned(),
    }
}

fn migration_error(error: MigrateError, known: i64) -> StateError {
    if let MigrateError::VersionMissing(found) = error {
        return too_new(found, known);
    }
    if let MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) = error {
        return store_error(error);
    }
    corrupt("schema", error)
}
