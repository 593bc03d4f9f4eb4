//! Checks of the supervisor's own host.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use data_runner_core::port::{Checkup, Finding, SecretProbe};
use data_runner_core::settings::{KeySource, Settings, TlsSettings};
use data_runner_core::workflow::{DefinitionState, Presence, SecretRef, Webhook};
use data_runner_engine::{Handle, Tokens};
use futures::future::join_all;

use crate::secrets::{own_probe, probe_of_workers};

/// Less than this will not do for long: logs, results, code and environments grow.
const WANTED_DISK: u64 = 2 << 30;

/// Looks at the host: the state folder, its disk, the certificate's files, whether anybody can come in, and whether the
/// secrets that the settings name can be read.
pub struct HostCheckup {
    settings: Settings,
    tokens: Option<Tokens>,
}

/// Looks whether the addresses of notifications can be read, where workflows name them by reference.
pub(crate) struct NotificationCheckup {
    handle: Handle,
    probe: Arc<dyn SecretProbe>,
}

impl HostCheckup {
    /// For these settings; `tokens` are those that people come in with, where they need any and the state is there.
    pub fn new(settings: Settings, tokens: Option<Tokens>) -> Self {
        Self { settings, tokens }
    }

    fn state(&self) -> Finding {
        let path = &self.settings.state;
        let check = "state folder";
        let Ok(found) = std::fs::metadata(path) else {
            let help = "it is made at the first start; the supervisor's user must be able to do that";
            return Finding::warning(check, format!("{} is not there yet", path.display()), help);
        };
        if !found.is_dir() {
            return Finding::bad(
                check,
                format!("{} is no folder", path.display()),
                "name another one as `state`",
            );
        }
        match rustix::fs::access(path, rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK) {
            Ok(()) => Finding::good(check, format!("{} can be written", path.display())),
            Err(error) => Finding::bad(
                check,
                format!("{} cannot be written: {error}", path.display()),
                "give it to the user that the supervisor runs as",
            ),
        }
    }

    fn disk(&self) -> Finding {
        let check = "disk";
        let nearest = self.settings.state.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
        match rustix::fs::statvfs(nearest) {
            Ok(status) => {
                let free = status.f_bavail.saturating_mul(status.f_frsize);
                let message =
                    format!("{:.1} GiB free for {}", free as f64 / (1_u64 << 30) as f64, nearest.display());
                if free >= WANTED_DISK {
                    Finding::good(check, message)
                } else {
                    Finding::bad(
                        check,
                        message,
                        "free some space: logs, code and results want at least 2 GiB",
                    )
                }
            }
            Err(error) => {
                Finding::warning(check, format!("cannot be measured: {error}"), "look with `df -h`")
            }
        }
    }

    fn certificate(&self) -> Finding {
        let check = "certificate";
        match &self.settings.tls {
            None => Finding::good(check, "none, and all listening is on loopback"),
            Some(TlsSettings::Own) => {
                let ca = self.settings.state.join("ca.pem");
                Finding::good(check, format!("of its own authority; people trust {}", ca.display()))
            }
            Some(TlsSettings::Given(given)) => {
                let files = [&given.certificate, &given.key, &given.ca];
                match files
                    .into_iter()
                    .find_map(|file| std::fs::File::open(file).err().map(|error| (file, error)))
                {
                    None => Finding::good(check, format!("given: {}", given.certificate.display())),
                    Some((file, error)) => Finding::bad(
                        check,
                        format!("{} cannot be read: {error}", file.display()),
                        "mend the path under `tls`, or the file's rights",
                    ),
                }
            }
        }
    }

    /// Each secret that the settings name, looked for by whoever reads it.
    async fn secrets(&self) -> Vec<Finding> {
        let settings = &self.settings;
        let hooks = [("github", &settings.hooks.github), ("gitlab", &settings.hooks.gitlab)];
        let hooks = hooks.iter().flat_map(|(sender, references)| {
            references.iter().map(move |reference| (format!("`hooks.{sender}`"), reference))
        });
        let keys = settings.repositories.iter().filter_map(|repository| match &repository.ssh_key {
            Some(KeySource::Secret(reference)) => {
                Some((format!("`ssh_key` of {}", repository.name), reference))
            }
            Some(KeySource::File(_)) | None => None,
        });
        let heartbeat = settings.heartbeat_url.iter().filter_map(reference);
        let heartbeat = heartbeat.map(|reference| ("`heartbeat_url`".to_owned(), reference));
        let own: Vec<_> = hooks.chain(keys).chain(heartbeat).collect();
        let index = settings.python.index.iter().filter_map(|index| index.auth.as_ref());
        let (by_us, by_workers) = (own_probe(), probe_of_workers(settings));
        let own = own.iter().map(|(whose, reference)| look(&*by_us, whose, reference));
        let index = index.map(|reference| look(&*by_workers, "`python.index_auth`", reference));
        let (mut findings, of_workers) = tokio::join!(join_all(own), join_all(index));
        findings.extend(of_workers);
        findings
    }

    async fn login(&self) -> Finding {
        let check = "login";
        if !self.settings.wants_tokens() {
            return Finding::good(check, "none: whoever reaches loopback may do everything");
        }
        let help =
            "make the first token here: data-runner-supervisor --config FILE token create NAME --scope admin";
        let Some(tokens) = &self.tokens else {
            return Finding::warning(check, "there is no state yet, so there are no tokens", help);
        };
        match tokens.any().await {
            Ok(true) => Finding::good(check, "people come in with tokens"),
            Ok(false) => Finding::bad(check, "nobody can come in: there is no token that is good", help),
            Err(error) => Finding::bad(
                check,
                format!("the tokens cannot be read: {error}"),
                "is this the user that the supervisor runs as?",
            ),
        }
    }
}

#[async_trait]
impl Checkup for HostCheckup {
    async fn check(&self) -> Vec<Finding> {
        let mut findings = vec![self.state(), self.disk(), self.certificate(), self.login().await];
        findings.extend(self.secrets().await);
        findings
    }
}

impl NotificationCheckup {
    pub(crate) fn new(handle: Handle, probe: Arc<dyn SecretProbe>) -> Self {
        Self { handle, probe }
    }
}

#[async_trait]
impl Checkup for NotificationCheckup {
    async fn check(&self) -> Vec<Finding> {
        let published = self.handle.published();
        let mut named: BTreeMap<&SecretRef, BTreeSet<String>> = BTreeMap::new();
        for workflow in published.workflows.values() {
            let (Presence::Present, DefinitionState::Valid(definition)) =
                (&workflow.presence, &workflow.definition)
            else {
                continue;
            };
            let webhooks = definition.config.notifications.iter().map(|notification| &notification.webhook);
            for reference in webhooks.filter_map(reference) {
                named.entry(reference).or_default().insert(workflow.qualified_name().to_string());
            }
        }
        let looks = named.into_iter().map(async |(reference, workflows)| {
            let whose = match workflows.iter().next() {
                Some(first) if workflows.len() == 1 => format!("notifications of {first}"),
                Some(first) => format!("notifications of {first} and {} more", workflows.len() - 1),
                None => "notifications".to_owned(),
            };
            look(&*self.probe, &whose, reference).await
        });
        join_all(looks).await
    }
}

/// What was found of a secret; the message says whose it is.
async fn look(probe: &dyn SecretProbe, whose: &str, reference: &SecretRef) -> Finding {
    let found = probe.probe(reference).await;
    Finding {
        check: "secret".to_owned(),
        message: format!("{whose}, {reference}: {}", found.message),
        ..found
    }
}

fn reference(webhook: &Webhook) -> Option<&SecretRef> {
    match webhook {
        Webhook::Reference(reference) => Some(reference),
        Webhook::Url(_) => None,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::BTreeMap;

    use data_runner_core::port::Verdict;
    use data_runner_core::settings;

    use super::*;
    use crate::open_tokens;

    async fn checked(text: &str, state: &Path, tokens: Option<Tokens>) -> Vec<(String, Verdict)> {
        let parsed = settings::parse("supervisor.yaml", text.as_bytes(), &BTreeMap::new());
        let mut settings = parsed.into_result().unwrap().0;
        state.clone_into(&mut settings.state);
        let found = HostCheckup::new(settings, tokens).check().await;
        assert!(found.iter().all(|it| it.verdict == Verdict::Good || it.help.is_some()), "{found:?}");
        found.into_iter().map(|it| (it.check, it.verdict)).filter(|(check, _)| check != "disk").collect()
    }

    fn verdicts(state: Verdict, certificate: Verdict, login: Verdict) -> Vec<(String, Verdict)> {
        let named = [("state folder", state), ("certificate", certificate), ("login", login)];
        named.map(|(check, verdict)| (check.to_owned(), verdict)).to_vec()
    }

    #[tokio::test]
    async fn what_a_host_lacks_is_found() {
        use Verdict::{Bad, Good, Warning};
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(checked("", folder.path(), None).await, verdicts(Good, Good, Good));
        assert_eq!(checked("", &folder.path().join("later"), None).await, verdicts(Warning, Good, Good));
        let file = folder.path().join("file");
        std::fs::write(&file, b"").unwrap();
        assert_eq!(checked("login: true", &file, None).await, verdicts(Bad, Good, Warning));
        let given = "tls: {certificate: /none/cert.pem, key: /none/key.pem, ca: /none/ca.pem}";
        assert_eq!(checked(given, folder.path(), None).await, verdicts(Good, Bad, Good));
    }

    #[tokio::test]
    async fn secrets_that_the_settings_name_are_looked_for_and_none_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        // Something that every process has, and something that none has.
        let text = "hooks: {github: env://PATH, gitlab: env://NO_SUCH_HOOK}\n\
                    python: {index_url: \"https://pypi.example.org/simple\", index_auth: env://DATA_RUNNER_PYPI}\n\
                    repositories: [{name: etl, url: /etl, ssh_key: env://NO_SUCH_KEY}]\n";
        let parsed = settings::parse("supervisor.yaml", text.as_bytes(), &BTreeMap::new());
        let mut settings = parsed.into_result().unwrap().0;
        folder.path().clone_into(&mut settings.state);
        let found = HostCheckup::new(settings, None).check().await;
        let found = found.iter().filter(|it| it.check == "secret");
        let found: Vec<_> = found.map(|it| (it.verdict, it.message.as_str())).collect();
        assert_eq!(
            found,
            [
                (Verdict::Good, "`hooks.github`, env://PATH: the supervisor can read it"),
                (Verdict::Bad, "`hooks.gitlab`, env://NO_SUCH_HOOK: there is no such secret"),
                (Verdict::Bad, "`ssh_key` of etl, env://NO_SUCH_KEY: there is no such secret"),
                (
                    Verdict::Bad,
                    "`python.index_auth`, env://DATA_RUNNER_PYPI: workers do not get the supervisor's DATA_RUNNER_PYPI"
                ),
            ]
        );
    }

    #[tokio::test]
    async fn a_login_without_a_token_is_a_closed_door() {
        let folder = tempfile::tempdir().unwrap();
        let parsed = settings::parse("supervisor.yaml", b"login: true", &BTreeMap::new());
        let mut settings = parsed.into_result().unwrap().0;
        folder.path().clone_into(&mut settings.state);
        let tokens = open_tokens(&settings).await.unwrap();
        let login =
            async || checked("login: true", folder.path(), Some(tokens.clone())).await.pop().unwrap().1;
        assert_eq!(login().await, Verdict::Bad);
        let wanted = data_runner_engine::tokens::NewToken {
            name: "first".parse().unwrap(),
            scope: data_runner_core::access::Scope::Admin,
            lifetime: None,
        };
        tokens.create(wanted).await.unwrap();
        assert_eq!(login().await, Verdict::Good);
    }
}
