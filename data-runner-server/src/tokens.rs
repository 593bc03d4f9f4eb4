//! The API tokens of a state folder, without a supervisor.

use std::sync::Arc;

use data_runner_core::settings::Settings;
use data_runner_engine::{SystemClock, Tokens};
use data_runner_sqlite::SqliteStore;

use crate::wiring::{StartupError, absolute};

/// The tokens of the state that the settings name, also while a supervisor uses it; the state is made if there is none.
///
/// # Errors
/// If the state cannot be opened.
pub async fn open_tokens(settings: &Settings) -> Result<Tokens, StartupError> {
    let state = absolute(&settings.state)?;
    std::fs::create_dir_all(&state)
        .map_err(|source| StartupError::machine(format!("cannot make {}", state.display()), source))?;
    let store = SqliteStore::open(&state).await;
    let store = store.map_err(|source| StartupError::of_state(source.into(), &state))?;
    Ok(Tokens::new(Arc::new(store), Arc::new(SystemClock::start())))
}

/// The same, where there is a state already; nothing is made.
///
/// # Errors
/// As [`open_tokens`].
pub async fn existing_tokens(settings: &Settings) -> Result<Option<Tokens>, StartupError> {
    if SqliteStore::is_in(absolute(&settings.state)?) {
        open_tokens(settings).await.map(Some)
    } else {
        Ok(None)
    }
}
