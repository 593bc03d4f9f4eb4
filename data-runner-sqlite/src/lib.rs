//! State, logs and catalogue in one SQLite file.
//!
//! [`SqliteStore`] is the [`StateStore`], [`LogStore`], [`Catalog`] and [`TokenStore`] of one installation, in a folder
//! of its own: `state.db` holds everything, `state.lock` is locked by the supervisor that holds the tenure. Tokens need
//! no tenure: whoever may write the file can make one beside a running supervisor.
//!
//! One task writes, on one connection: what was decided goes before what was logged, and whatever waits at one time
//! is committed in one transaction. Reads have a pool of read-only connections; in WAL mode neither waits for the
//! other.
//!
//! Queries whose text is fixed are checked against the schema when this crate is compiled; what the check needs lies
//! in `.sqlx`, and `cargo xtask sqlx` makes it anew after a change of a query or a migration.
//!
//! [`StateStore`]: data_runner_core::port::StateStore
//! [`LogStore`]: data_runner_core::port::LogStore
//! [`Catalog`]: data_runner_core::port::Catalog
//! [`TokenStore`]: data_runner_core::port::TokenStore

mod body;
mod catalog;
mod connect;
mod error;
mod lock;
mod logs;
mod schema;
mod state;
mod store;
mod tokens;
mod writer;

pub use connect::Options;
pub use store::SqliteStore;
