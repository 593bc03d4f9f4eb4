//! `token`: who may come in.

use data_runner_rest::api::{CreateToken, CreatedToken, Token};
use jiff::Timestamp;
use reqwest::Method;

use super::context::Context;
use crate::args::{TokenCommand, TokenCreateArgs};
use crate::client::encode;
use crate::error::Error;
use crate::output::{Field, Table, say, style, time, whole};

/// Does what was asked about tokens.
pub async fn token(command: &TokenCommand, context: &Context) -> Result<u8, Error> {
    match command {
        TokenCommand::Create(args) => create(args, context).await?,
        TokenCommand::List => {
            let tokens: Vec<Token> = context.list("/tokens", &[], u32::MAX).await?;
            let draw = |all: &[Token]| context.output.draw(&table(all, Timestamp::now()));
            context.output.many(&tokens, |token| token.name.to_string(), draw)?;
        }
        TokenCommand::Revoke { token } => {
            let path = format!("/tokens/{}", encode(token));
            let help = "`data-runner token list` shows them";
            let revoked: Result<Token, Error> = context.client.call(Method::DELETE, &path, None).await;
            let revoked = revoked.map_err(|error| error.helping_to_find(help))?;
            context.output.one(&revoked, |it| it.name.to_string(), |it| format!("{} is revoked", it.name))?;
        }
    }
    Ok(0)
}

/// The secret is data: it goes to stdout alone, so that a script can keep it.
async fn create(args: &TokenCreateArgs, context: &Context) -> Result<(), Error> {
    let body =
        CreateToken { name: args.name.clone(), scope: args.scope, expires_in: args.expires_in.clone() };
    let made: CreatedToken = context.client.post("/tokens", &body, None).await?;
    if context.output.is_table() {
        let until = match made.token.expires_at {
            Some(at) => format!("until {}", time::moment(at)),
            None => "until it is revoked".to_owned(),
        };
        say(&format!(
            "{} has the scope {} {until}; this is its secret, which is shown once:",
            made.token.name, made.token.scope
        ));
    }
    context.output.one(&made, |it| it.token.name.to_string(), |it| it.secret.clone())
}

fn table(tokens: &[Token], now: Timestamp) -> Table {
    let mut table =
        Table::new([whole("NAME"), whole("SCOPE"), whole("CREATED"), whole("LAST USED"), whole("EXPIRES")]);
    for token in tokens {
        let expires = match token.expires_at {
            None => Field::new("never"),
            Some(at) if at <= now => Field::coloured("expired", style::WARN),
            Some(at) => Field::new(time::moment(at)),
        };
        table.row([
            Field::new(token.name.to_string()),
            Field::new(token.scope.as_str()),
            Field::new(time::ago(token.created_at, now)),
            Field::new(token.last_used_at.map_or_else(|| "never".to_owned(), |at| time::ago(at, now))),
            expires,
        ]);
    }
    table
}
