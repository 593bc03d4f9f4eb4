//! `context`: servers by name.

use std::io::{self, Read as _};

use serde::Serialize;

use crate::args::{Common, ContextAddArgs, ContextCommand};
use crate::client::Client;
use crate::contexts::{Contexts, ServerContext};
use crate::error::Error;
use crate::output::{Field, Output, Table, cut, say, whole};

/// A context as it is shown: whether it has a token, but not which.
#[derive(Debug, Serialize)]
struct Shown {
    name: String,
    current: bool,
    server: String,
    token: bool,
    ca: Option<String>,
}

/// Does what was asked about contexts.
pub fn contexts(command: &ContextCommand, common: &Common, output: Output) -> Result<u8, Error> {
    let file = Contexts::file()?;
    let mut all = Contexts::read(&file)?;
    match command {
        ContextCommand::List => {
            let shown = shown(&all);
            if shown.is_empty() && output.is_table() {
                say("no context yet; `data-runner context add NAME SERVER` adds one");
                return Ok(0);
            }
            output.many(&shown, |it| it.name.clone(), |shown| output.draw(&table(shown)))?;
        }
        ContextCommand::Use { name } => {
            all.named(name)?;
            all.current = Some(name.clone());
            all.write(&file)?;
            say(&format!("commands go to {name} now"));
        }
        ContextCommand::Add(args) => {
            add(&mut all, args, common)?;
            all.write(&file)?;
            let is_current = all.current.as_deref() == Some(args.name.as_str());
            let how = if is_current { "commands go there now" } else { "--context names it" };
            say(&format!("{} is {}; {how}", args.name, args.address));
        }
        ContextCommand::Remove { name } => {
            all.named(name)?;
            all.contexts.remove(name);
            all.current = all.current.filter(|current| current != name);
            all.write(&file)?;
            say(&format!("{name} is forgotten; its token is still good until it is revoked"));
        }
    }
    Ok(0)
}

fn add(all: &mut Contexts, args: &ContextAddArgs, common: &Common) -> Result<(), Error> {
    let token = match args.token.as_deref() {
        Some("-") => {
            let mut text = String::new();
            let read = io::stdin().lock().read_to_string(&mut text);
            read.map_err(|source| Error::io("cannot read stdin", source))?;
            Some(text.trim().to_owned())
        }
        Some(token) => Some(token.to_owned()),
        None => std::env::var("DATA_RUNNER_TOKEN").ok(),
    };
    let absolute = |path| std::path::absolute(path).map_err(|source| Error::io("no such path", source));
    let context = ServerContext {
        server: args.address.trim_end_matches('/').to_owned(),
        token: token.filter(|token| !token.is_empty()),
        ca: common.ca.as_ref().map(absolute).transpose()?,
    };
    // What could not be used later is refused now.
    Client::new(&context.server, context.token.as_deref(), context.ca.as_deref())?;
    all.contexts.insert(args.name.clone(), context);
    if args.make_current || all.current.is_none() {
        all.current = Some(args.name.clone());
    }
    Ok(())
}

fn shown(all: &Contexts) -> Vec<Shown> {
    let show = |(name, context): (&String, &ServerContext)| Shown {
        name: name.clone(),
        current: all.current.as_ref() == Some(name),
        server: context.server.clone(),
        token: context.token.is_some(),
        ca: context.ca.as_ref().map(|path| path.display().to_string()),
    };
    all.contexts.iter().map(show).collect()
}

fn table(shown: &[Shown]) -> Table {
    let mut table = Table::new([whole(""), whole("NAME"), whole("SERVER"), whole("TOKEN"), cut("CA")]);
    for context in shown {
        table.row([
            Field::new(if context.current { "*" } else { "" }),
            Field::new(context.name.clone()),
            Field::new(context.server.clone()),
            Field::new(if context.token { "yes" } else { "no" }),
            Field::new(context.ca.clone().unwrap_or_default()),
        ]);
    }
    table
}
