//! The API tokens of a state folder, without a supervisor.

use std::sync::Arc;

use data_runner_core::settings::Settings;
use data_runner_engine::{SystemClock, Tokens};
use data_runner_sqlite::SqliteStore;

use crate::wiring::{StartupError, state_folder};

/// The tokens of the state that the settings name, also while a supervisor uses it; the state is made if there is none.
///
/// # Errors
/// If the state cannot be opened.
pub async fn open_tokens(settings: &Settings) -> Result<Tokens, StartupError> {
    let state = state_folder(settings)?;
    let store = SqliteStore::open(&state).await;
    let store = store.map_err(|source| StartupError::of_state(source.into(), &state))?;
    Ok(Tokens::new(Arc::new(store), Arc::new(SystemClock::start())))
}
