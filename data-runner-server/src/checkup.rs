//! Checks of the supervisor's own host.

use std::path::Path;

use async_trait::async_trait;
use data_runner_core::port::{Checkup, Finding};
use data_runner_core::settings::{Settings, TlsSettings};
use data_runner_engine::Tokens;

/// Less than this will not do for long: logs, results, code and environments grow.
const WANTED_DISK: u64 = 2 << 30;

/// Looks at the host: the state folder, its disk, the certificate's files, and whether anybody can come in.
pub struct HostCheckup {
    settings: Settings,
    tokens: Option<Tokens>,
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
        vec![self.state(), self.disk(), self.certificate(), self.login().await]
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
