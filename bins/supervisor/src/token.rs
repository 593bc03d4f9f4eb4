//! `token`: the API tokens of this host's state, also while a supervisor uses it. The first one is made here.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::{Args, Subcommand};
use data_runner_core::access::{Scope, Token};
use data_runner_core::id::TokenName;
use data_runner_core::settings::Settings;
use data_runner_core::time::Timestamp;
use data_runner_engine::tokens::NewToken;
use data_runner_server::open_tokens;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token; its secret is printed once
    Create(CreateArguments),
    /// List tokens
    List,
    /// Revoke a token
    Revoke {
        /// Its name or id
        token: String,
    },
}

/// Flags of `token create`.
#[derive(Debug, Args)]
pub struct CreateArguments {
    /// What to call it, such as ci or alice
    name: TokenName,
    /// What it lets its bearer do: read, run or admin; each includes those before it
    #[arg(long, value_name = "SCOPE")]
    scope: Scope,
    /// For how long it is good, such as 90d; without it until it is revoked
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires_in: Option<Duration>,
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let wrong = || "it is no length of time such as 90d or 12h".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let length = span.to_duration(jiff::SpanRelativeTo::days_are_24_hours()).map_err(|_| wrong())?;
    Duration::try_from(length).ok().filter(|length| !length.is_zero()).ok_or_else(wrong)
}

/// Does it; secrets and lists go to stdout, everything else to stderr.
pub async fn perform(command: &TokenCommand, settings: &Settings) -> Result<()> {
    let state: PathBuf = settings.state.clone();
    let tokens = open_tokens(settings).await.with_context(|| {
        format!(
            "the tokens in {} cannot be reached; is this the user that the supervisor runs as?",
            state.display()
        )
    })?;
    match command {
        TokenCommand::Create(wanted) => {
            let wanted =
                NewToken { name: wanted.name.clone(), scope: wanted.scope, lifetime: wanted.expires_in };
            let (token, secret) = tokens.create(wanted).await?;
            let until = token.expires_at.map_or("it is revoked".to_owned(), minute);
            eprintln!(
                "{} has the scope {} until {until}; this is its secret, which is shown once:",
                token.name, token.scope
            );
            println!("{}", secret.reveal());
        }
        TokenCommand::List => {
            for token in tokens.list().await? {
                println!("{}", line(&token));
            }
        }
        TokenCommand::Revoke { token } => eprintln!("{} is revoked", tokens.revoke(token).await?.name),
    }
    Ok(())
}

fn line(token: &Token) -> String {
    let used = token.last_used_at.map_or("never".to_owned(), minute);
    let expires = token.expires_at.map_or("never".to_owned(), minute);
    format!(
        "{:<24}  {:<5}  last used: {used:<20}  expires: {expires}",
        token.name.as_str(),
        token.scope.as_str()
    )
}

/// To the minute, which is as exact as uses are recorded.
fn minute(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.micros()).unwrap_or_default();
    at.strftime("%Y-%m-%d %H:%M UTC").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_a_length_of_time_that_is_not_over_at_once() {
        assert_eq!(lifetime("90d"), Ok(Duration::from_secs(90 * 24 * 3600)));
        for wrong in ["", "90", "soon", "0s", "-1d"] {
            assert!(lifetime(wrong).is_err(), "{wrong}");
        }
    }
}
