//! To which server a command speaks, with which token, trusting whom.

use std::path::PathBuf;

use crate::args::{Common, DEFAULT_SERVER};
use crate::client::Client;
use crate::contexts::{Contexts, ServerContext};
use crate::error::Error;

/// A client for what flags, environment and contexts say.
pub fn client(common: &Common) -> Result<Client, Error> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let contexts = match &common.server {
        // Whoever names the server needs no file, and no context's token goes to it.
        Some(_) => Contexts::default(),
        None => Contexts::read(&Contexts::file()?)?,
    };
    let chosen = choose(common, &contexts, variable("DATA_RUNNER_TOKEN"))?;
    Client::new(&chosen.server, chosen.token.as_deref(), chosen.ca.as_deref())
}

/// Flags before the environment before the context that is named before the current one.
fn choose(common: &Common, contexts: &Contexts, token: Option<String>) -> Result<ServerContext, Error> {
    let ca: Option<PathBuf> = common.ca.clone();
    let context = match (&common.server, &common.context, &contexts.current) {
        (Some(server), ..) => ServerContext { server: server.clone(), token: None, ca: None },
        (None, Some(name), _) | (None, None, Some(name)) => contexts.named(name)?.clone(),
        (None, None, None) => ServerContext { server: DEFAULT_SERVER.to_owned(), token: None, ca: None },
    };
    Ok(ServerContext { server: context.server, token: token.or(context.token), ca: ca.or(context.ca) })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::Cli;

    fn contexts() -> Contexts {
        let context = |name: &str| ServerContext {
            server: format!("https://{name}"),
            token: Some(format!("dr_{name}")),
            ca: Some(format!("/{name}.pem").into()),
        };
        Contexts {
            current: Some("prod".to_owned()),
            contexts: ["prod", "test"].map(|name| (name.to_owned(), context(name))).into(),
        }
    }

    fn chosen(line: &[&str], contexts: &Contexts, token: Option<&str>) -> (String, String, String) {
        let cli = Cli::try_parse_from(["data-runner", "ps"].iter().chain(line)).unwrap();
        let chosen = choose(&cli.common, contexts, token.map(ToOwned::to_owned)).unwrap();
        let ca = chosen.ca.map(|path| path.display().to_string());
        (chosen.server, chosen.token.unwrap_or_default(), ca.unwrap_or_default())
    }

    fn three(server: &str, token: &str, ca: &str) -> (String, String, String) {
        (server.to_owned(), token.to_owned(), ca.to_owned())
    }

    #[test]
    fn the_nearest_word_wins() {
        let all = contexts();
        assert_eq!(chosen(&[], &Contexts::default(), None), three(DEFAULT_SERVER, "", ""));
        assert_eq!(chosen(&[], &all, None), three("https://prod", "dr_prod", "/prod.pem"));
        assert_eq!(chosen(&["--context", "test"], &all, None), three("https://test", "dr_test", "/test.pem"));
        let own = chosen(&["--ca", "/own.pem"], &all, Some("dr_own"));
        assert_eq!(own, three("https://prod", "dr_own", "/own.pem"));
    }

    #[test]
    fn a_contexts_token_never_goes_to_another_server() {
        assert_eq!(chosen(&["--server", "https://other"], &contexts(), None), three("https://other", "", ""));
        let both = ["data-runner", "ps", "--server", "https://other", "--context", "prod"];
        assert!(Cli::try_parse_from(both).is_err());
    }
}
