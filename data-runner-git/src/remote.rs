//! Talking to a remote repository: credentials, host keys, limits, and what its answers mean.

use std::cell::{Cell, RefCell};
use std::sync::Once;
use std::time::{Duration, Instant};

use data_runner_core::port::SourceError;
use git2::{
    AutotagOption, CertificateCheckStatus, Cred, CredentialType, Direction, ErrorClass, ErrorCode,
    FetchOptions, Oid, RemoteCallbacks, RemoteRedirect, Repository,
};

use crate::access::{Access, Helper};
use crate::host_keys::{Verdict, judge};
use crate::location::{RemoteUrl, Scheme};

/// For how long a connection may take to come about, and for how long it may then be silent.
const CONNECT: Duration = Duration::from_secs(20);
const SILENCE: Duration = Duration::from_secs(60);

/// A branch or tag as the remote shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) name: String,
    pub(crate) object: Oid,
}

/// How much history a download brings with the commits that it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// None: they stand alone, and our copy ends there.
    Tips,
    /// What we lack, but nothing from behind where our copy ends; given up when it is more than so many bytes.
    Missing {
        /// So many bytes.
        at_most: u64,
    },
    /// All of it, also what is behind where our copy ends.
    All,
}

impl Depth {
    /// As libgit2 counts it; 0 is what git does by itself.
    fn generations(self, scheme: Scheme) -> i32 {
        match (self, scheme) {
            // libgit2 reads the files of a repository of this machine itself, and cannot cut there.
            (_, Scheme::File) | (Self::Missing { .. }, _) => 0,
            (Self::Tips, Scheme::Https | Scheme::Ssh | Scheme::Plain) => 1,
            (Self::All, Scheme::Https | Scheme::Ssh | Scheme::Plain) => i32::MAX,
        }
    }
}

/// What became of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Brought {
    /// It is here.
    All,
    /// It was more than [`Depth::Missing`] allowed, and nothing of it is here.
    Nothing,
}

/// A remote repository.
pub(crate) struct Remote {
    pub(crate) url: RemoteUrl,
    access: Access,
}

impl Remote {
    pub(crate) fn new(url: RemoteUrl, access: Access) -> Self {
        bound_silence();
        Self { url, access }
    }

    /// For how long a fetch may last.
    pub(crate) fn longest(&self) -> Duration {
        self.access.longest_fetch
    }

    /// Its branches and tags, and `HEAD`, without bringing anything.
    pub(crate) fn list(&self, repository: &Repository) -> Result<Vec<Head>, SourceError> {
        let visit = Visit::new(self);
        let listed = (|| {
            let mut remote = repository.remote_anonymous(&self.url.text)?;
            let connection = remote.connect_auth(Direction::Fetch, Some(visit.callbacks()), None)?;
            let heads = connection.list()?.iter();
            Ok(heads.map(|head| Head { name: head.name().to_owned(), object: head.oid() }).collect())
        })();
        listed.map_err(|error| visit.explain(error))
    }

    /// Brings the objects that `refspecs` name into `repository`, and changes none of its refs. A server that cannot
    /// cut a history off gives it whole.
    pub(crate) fn download(
        &self,
        repository: &Repository,
        refspecs: &[&str],
        depth: Depth,
    ) -> Result<Brought, SourceError> {
        let enough = match depth {
            Depth::Missing { at_most } => at_most,
            Depth::Tips | Depth::All => u64::MAX,
        };
        let visit = Visit { enough, ..Visit::new(self) };
        let transfer = |generations: i32| {
            let mut options = FetchOptions::new();
            options
                .remote_callbacks(visit.callbacks())
                .download_tags(AutotagOption::None)
                .depth(generations)
                // A redirect to another host would carry our credentials there.
                .follow_redirects(RemoteRedirect::None);
            repository.remote_anonymous(&self.url.text)?.download(refspecs, Some(&mut options))
        };
        let generations = depth.generations(self.url.scheme);
        let result = match transfer(generations) {
            Err(error) if generations != 0 && cannot_cut(&error) => {
                visit.tried.set(Tried::Nothing);
                transfer(0)
            }
            result => result,
        };
        match result {
            Ok(()) => Ok(Brought::All),
            Err(_) if visit.had_enough.get() => Ok(Brought::Nothing),
            Err(error) => Err(visit.explain(error)),
        }
    }
}

/// Whether the server does not know what a depth is: it says so before it is asked for anything.
fn cannot_cut(error: &git2::Error) -> bool {
    error.code() == ErrorCode::Invalid && error.class() == ErrorClass::Net
}

/// libgit2 waits for ever by default.
#[allow(unsafe_code)]
fn bound_silence() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        // SAFETY: these set two integers of libgit2 that are read when a connection is made. Nothing else in this
        // process sets them, and no `Remote` of ours exists before this has returned.
        let set = unsafe {
            git2::opts::set_server_connect_timeout_in_milliseconds(millis(CONNECT))
                .and_then(|()| git2::opts::set_server_timeout_in_milliseconds(millis(SILENCE)))
        };
        if let Err(error) = set {
            tracing::warn!(%error, "connections to git servers have no time limit");
        }
    });
}

/// One connection, and what we ourselves had against it.
struct Visit<'remote> {
    remote: &'remote Remote,
    /// What we refused; libgit2 may report it in words of its own.
    refusal: RefCell<Option<SourceError>>,
    tried: Cell<Tried>,
    since: Instant,
    /// After so many bytes we want no more, which is no error.
    enough: u64,
    had_enough: Cell<bool>,
}

/// libgit2 asks again after each refusal, so that each way is gone once only.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tried {
    Nothing,
    Once,
}

impl<'remote> Visit<'remote> {
    fn new(remote: &'remote Remote) -> Self {
        Self {
            remote,
            refusal: RefCell::new(None),
            tried: Cell::new(Tried::Nothing),
            since: Instant::now(),
            enough: u64::MAX,
            had_enough: Cell::new(false),
        }
    }

    fn callbacks(&self) -> RemoteCallbacks<'_> {
        let mut callbacks = RemoteCallbacks::new();
        callbacks.credentials(|url, user, allowed| self.credentials(url, user, allowed));
        callbacks.certificate_check(|certificate, _| match certificate.as_hostkey() {
            Some(key) => self.host_key(key),
            None => Ok(CertificateCheckStatus::CertificatePassthrough),
        });
        callbacks.transfer_progress(|progress| self.may_go_on(progress.received_bytes() as u64));
        callbacks
    }

    fn credentials(
        &self,
        url: &str,
        user: Option<&str>,
        allowed: CredentialType,
    ) -> Result<Cred, git2::Error> {
        let user = user.unwrap_or("git");
        if allowed.contains(CredentialType::USERNAME) {
            return Cred::username(user);
        }
        if self.tried.replace(Tried::Once) == Tried::Once {
            return Err(git2::Error::new(ErrorCode::Auth, git2::ErrorClass::Callback, "refused"));
        }
        let access = &self.remote.access;
        if allowed.contains(CredentialType::SSH_KEY) {
            return match &access.ssh_key {
                Some(key) => {
                    let passphrase = key.passphrase.as_ref().map(crate::Secret::reveal);
                    Cred::ssh_key(user, None, &key.file, passphrase)
                }
                None => Cred::ssh_key_from_agent(user),
            };
        }
        let token = access.tokens.iter().find(|token| token.host.eq_ignore_ascii_case(&self.remote.url.host));
        match (token, access.helper) {
            // Only https asks for passwords here: plain http is spoken without credentials.
            _ if self.remote.url.scheme != Scheme::Https => {
                Err(git2::Error::new(ErrorCode::Auth, git2::ErrorClass::Callback, "not over this protocol"))
            }
            (Some(token), _) => Cred::userpass_plaintext(&token.user, token.secret.reveal()),
            (None, Helper::Ask) => Cred::credential_helper(&git2::Config::open_default()?, url, None),
            (None, Helper::Ignore) => {
                Err(git2::Error::new(ErrorCode::Auth, git2::ErrorClass::Callback, "no credentials"))
            }
        }
    }

    fn host_key(&self, key: &git2::cert::CertHostkey<'_>) -> Result<CertificateCheckStatus, git2::Error> {
        let Some(file) = &self.remote.access.known_hosts else {
            // libgit2 has looked into ~/.ssh/known_hosts, and its verdict stands.
            return Ok(CertificateCheckStatus::CertificatePassthrough);
        };
        let RemoteUrl { host, port, .. } = &self.remote.url;
        let scan = port
            .map_or_else(|| format!("ssh-keyscan {host}"), |port| format!("ssh-keyscan -p {port} {host}"));
        let file_shown = file.display();
        let known = match std::fs::read_to_string(file) {
            Ok(known) => known,
            Err(error) => {
                return self.refuse(format!("{file_shown} with the known hosts cannot be read: {error}"));
            }
        };
        let (Some(kind), Some(bytes)) = (key.hostkey_type(), key.hostkey()) else {
            return self.refuse("its host key cannot be read".to_owned());
        };
        match judge(&known, host, *port, kind.name(), bytes) {
            Verdict::Known => Ok(CertificateCheckStatus::CertificateOk),
            Verdict::Unknown => self.refuse(format!(
                "its {} host key is not in {file_shown}; compare it with what the server's owner says, then add it: \
                 {scan} >> {file_shown}",
                kind.name()
            )),
            Verdict::Different => self.refuse(format!(
                "its {} host key is not the one in {file_shown}; either the server was changed, or someone stands \
                 between: ask its owner before you replace the line",
                kind.name()
            )),
            Verdict::Revoked => self.refuse(format!("{file_shown} says that its host key is revoked")),
        }
    }

    fn refuse<T>(&self, message: String) -> Result<T, git2::Error> {
        let error = git2::Error::new(ErrorCode::Certificate, git2::ErrorClass::Callback, &message);
        *self.refusal.borrow_mut() = Some(SourceError::Denied { url: self.remote.url.text.clone(), message });
        Err(error)
    }

    fn may_go_on(&self, received: u64) -> bool {
        let access = &self.remote.access;
        let url = self.remote.url.text.clone();
        if received > self.enough {
            self.had_enough.set(true);
            return false;
        }
        if received > access.largest_fetch {
            let message = format!("it sends more than {} bytes at one time", access.largest_fetch);
            *self.refusal.borrow_mut() = Some(SourceError::Refused { path: url, message });
            return false;
        }
        if self.since.elapsed() > access.longest_fetch {
            let source = format!("a fetch took longer than {:?}", access.longest_fetch).into();
            *self.refusal.borrow_mut() = Some(SourceError::Unreachable { url, source });
            return false;
        }
        true
    }

    /// What an error of libgit2 means for whoever asked.
    fn explain(&self, error: git2::Error) -> SourceError {
        if let Some(refusal) = self.refusal.take() {
            return refusal;
        }
        let url = self.remote.url.text.clone();
        let code = error.code();
        if code == ErrorCode::Certificate {
            let message = format!(
                "its certificate or host key is not trusted ({}); for ssh, add the key to ~/.ssh/known_hosts or name a \
                 known_hosts file, for https add the authority to this system's",
                error.message()
            );
            return SourceError::Denied { url, message };
        }
        if code == ErrorCode::Owner {
            let message =
                "the repository belongs to another user of this machine; git's safe.directory can allow it";
            return SourceError::Denied { url, message: message.to_owned() };
        }
        if code == ErrorCode::Auth || wants_credentials(error.message()) {
            let message = match self.tried.get() {
                Tried::Nothing => {
                    "there is no such repository, or it wants credentials and we have none for it"
                }
                Tried::Once => "it does not accept the credentials that we have for it",
            };
            return SourceError::Denied { url, message: format!("{message} ({})", error.message()) };
        }
        SourceError::Unreachable { url, source: error.into() }
    }
}

/// libgit2 gives no code for these.
fn wants_credentials(message: &str) -> bool {
    ["status code: 401", "status code: 403", "status code: 404", "authentication"]
        .iter()
        .any(|sign| message.contains(sign))
}
