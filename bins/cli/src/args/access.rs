//! Flags of the commands about who may come in, and to where.

use clap::{Args, Subcommand};
use data_runner_core::access::Scope;
use data_runner_core::id::TokenName;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is printed once
    Create(TokenCreateArgs),
    /// List tokens
    #[command(visible_alias = "ls")]
    List,
    /// Revoke a token
    Revoke {
        /// Its name or id
        token: String,
    },
}

/// Flags of `token create`.
#[derive(Debug, Args)]
pub struct TokenCreateArgs {
    /// What to call it, such as ci or alice
    pub name: TokenName,
    /// What it lets its bearer do: read, run or admin; each includes those before it
    #[arg(long, value_name = "SCOPE")]
    pub scope: Scope,
    /// For how long it is good, such as 90d; without it until it is revoked
    #[arg(long, value_name = "TIME")]
    pub expires_in: Option<String>,
}

/// What to do with secrets.
#[derive(Debug, Subcommand)]
pub enum SecretCommand {
    /// Look whether the workers can read each secret of a workflow; shows no value, and ends with 1 if one is missing
    Check {
        /// The workflow: its name, repository/name, or its id
        workflow: String,
    },
}

/// What to do with contexts.
#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// List contexts; the current one is marked
    #[command(visible_alias = "ls")]
    List,
    /// Make a context the current one
    Use {
        /// Its name
        name: String,
    },
    /// Add a context, or replace the one of that name; --ca goes into it
    Add(ContextAddArgs),
    /// Forget a context
    Remove {
        /// Its name
        name: String,
    },
}

/// Flags of `context add`.
#[derive(Debug, Args)]
pub struct ContextAddArgs {
    /// What to call it, such as prod
    pub name: String,
    /// The server's address, an http or https URL
    #[arg(value_name = "SERVER")]
    pub address: String,
    /// The token; - reads it from stdin
    #[arg(long)]
    pub token: Option<String>,
    /// Use it from now on
    #[arg(long = "use")]
    pub make_current: bool,
}
