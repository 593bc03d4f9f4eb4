//! Transactions of the state.

use data_runner_core::id::{CommitSequence, Epoch};
use data_runner_core::port::StateError;
use sqlx::{Connection, SqliteConnection};

use super::Commit;
use super::batch::Batch;
use crate::body::{signed, unsigned};
use crate::error::store_error;

/// Where a transaction failed: whether it can have been done is what a retry depends on.
pub(super) enum CommitFailure {
    /// It was not done.
    Before(StateError),
    /// Nobody knows.
    AtCommit(StateError),
}

impl CommitFailure {
    pub(super) fn into_error(self) -> StateError {
        match self {
            Self::Before(error) | Self::AtCommit(error) => error,
        }
    }
}

impl From<StateError> for CommitFailure {
    fn from(error: StateError) -> Self {
        Self::Before(error)
    }
}

/// Begins a tenure.
pub(super) async fn raise_epoch(connection: &mut SqliteConnection) -> Result<Epoch, StateError> {
    let epoch = sqlx::query_scalar!("UPDATE tenure SET epoch = epoch + 1 RETURNING epoch")
        .fetch_one(connection)
        .await
        .map_err(store_error)?;
    Ok(Epoch(unsigned(epoch)?))
}

/// Commits all of `group` in one transaction; those under an old epoch are fenced and do not touch it.
pub(super) async fn commit(
    connection: &mut SqliteConnection,
    group: &[Commit],
) -> Result<Vec<Result<CommitSequence, StateError>>, CommitFailure> {
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(store_error)?;
    let tenure = sqlx::query!("SELECT epoch, sequence FROM tenure")
        .fetch_one(&mut *transaction)
        .await
        .map_err(store_error)?;
    let current = Epoch(unsigned(tenure.epoch)?);
    let mut sequence = CommitSequence(unsigned(tenure.sequence)?);
    let mut batch = Batch::default();
    let mut outcomes = Vec::with_capacity(group.len());
    for commit in group {
        outcomes.push(if commit.epoch != current {
            Err(StateError::Fenced { ours: commit.epoch, current })
        } else {
            if !commit.changes.is_empty() {
                sequence.0 += 1;
                batch.add(sequence, commit.at, &commit.changes);
            }
            Ok(sequence)
        });
    }
    batch.write(&mut transaction).await?;
    let last = signed(sequence.0);
    sqlx::query!("UPDATE tenure SET sequence = ?1 WHERE sequence <> ?1", last)
        .execute(&mut *transaction)
        .await
        .map_err(store_error)?;
    transaction.commit().await.map_err(|error| CommitFailure::AtCommit(store_error(error)))?;
    Ok(outcomes)
}
