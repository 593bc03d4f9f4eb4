//! Text to settings.

mod ec2;
mod links;
mod python;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::keys::{SCALARS, SETTINGS};
use super::{
    AgentSettings, HookSettings, KeySource, LocalSettings, ProvisionerSettings, RepositorySettings, Settings,
    TlsSettings,
};
use crate::id::RepoName;
use crate::workflow::config::{Parsed, decode};
use crate::workflow::{NotASecretRef, UrlRefused, Webhook, check_repo_url};
use crate::yaml::{
    Entry, Kind, Loaded, Node, Object, Place, Placed, Pointer, Report, Scalar, Span, Value, check, load,
};
use links::Links;

/// What the environment variables begin with that override keys: `DATA_RUNNER_LISTEN` overrides `listen`.
pub const ENV_PREFIX: &str = "DATA_RUNNER_";

/// Reads a `supervisor.yaml`.
///
/// `environment` holds the process's environment variables: those that override a scalar key of the first level are
/// used, all others are left alone. Everything that is wrong is found at once; what is wrong with a variable has
/// `environment NAME` for its file.
pub fn parse(file: &str, text: &[u8], environment: &BTreeMap<String, String>) -> Parsed<Settings> {
    let text = match decode(file, text) {
        Ok(text) => text,
        Err(problems) => return Parsed::Broken { problems },
    };
    let mut report = Report::new(file, text);
    let settings = match load(text, 0, &mut report) {
        Loaded::Broken => None,
        Loaded::Empty => Some(Node { at: Span::start(0), kind: Kind::Map(Vec::new()) }),
        Loaded::Tree(node) => Some(node),
    }
    .map(|node| overridden(node, environment, &mut report))
    .and_then(|node| check(&node, &SETTINGS, &Pointer::default(), &mut report))
    .and_then(Placed::into_object)
    .and_then(|object| build(object.value, &mut report));
    Parsed::new(settings, report.into_problems())
}

/// Puts the environment's values in place of the file's.
fn overridden<'t>(
    mut node: Node,
    environment: &'t BTreeMap<String, String>,
    report: &mut Report<'t>,
) -> Node {
    let Kind::Map(entries) = &mut node.kind else {
        return node;
    };
    for key in SCALARS {
        let variable = format!("{ENV_PREFIX}{}", key.to_uppercase());
        let Some(value) = environment.get(&variable) else {
            continue;
        };
        let source = report.add_source(&format!("environment {variable}"), value);
        let at = Span { length: 0, ..Span::start(source) };
        entries.retain(|entry| entry.key != key);
        let value = Node { at, kind: Kind::Scalar(Scalar::Text(value.clone())) };
        entries.push(Entry { key: key.to_owned(), key_at: at, value });
    }
    node
}

fn build(mut given: Object, report: &mut Report<'_>) -> Option<Settings> {
    let chosen = given.text("provisioner").filter(|name| name.value == "ec2");
    let provisioner = provisioner(chosen.as_ref().map(|name| &name.at), &mut given, report);
    let tls = links::tls(given.take("tls"), report).or(chosen.as_ref().map(|_| TlsSettings::Own));
    let links = match &chosen {
        Some(name) => Links::OfCloud(&name.at),
        None if tls.is_some() || given.place("tls").is_some() => Links::Secured,
        None => Links::Plain,
    };
    let grpc_listen = links.address(given.text("grpc_listen"), 7070, report);
    links.reach(grpc_listen, report);
    let listen = links.address(given.text("listen"), 8080, report);
    Some(Settings {
        listen,
        login: links::login(&mut given, listen, report),
        grpc_listen,
        public_url: links.url("public_url", &mut given, report),
        grpc_url: links.url("grpc_url", &mut given, report),
        installation: installation(given.text("installation"), report),
        state: given
            .text("state")
            .map_or_else(|| PathBuf::from("/var/lib/data-runner"), |path| path.value.into()),
        repositories: repositories(given.list("repositories"), report),
        heartbeat_url: given.text("heartbeat_url").and_then(|url| heartbeat_url(&url, report)),
        hooks: hooks(given.object("hooks")),
        agents: agents(given.place("agents"), given.object("agents"), report),
        python: python::python(given.object("python"), chosen.is_some(), report),
        tls,
        provisioner: provisioner?,
    })
}

fn heartbeat_url(given: &Placed<String>, report: &mut Report<'_>) -> Option<Webhook> {
    let url = given.value.parse();
    if url.is_err() {
        report.hide(&given.at);
        report
            .error(&given.at, "invalid_value", "`heartbeat_url` is no address")
            .help("write an https:// URL without a password, or a reference such as env://HEARTBEAT_URL");
    }
    url.ok()
}

/// What starts workers. `cloud` is where `ec2` is chosen; both blocks are read, so that a mistake in one that is not
/// used today does not wait for the day on which it is.
fn provisioner(
    cloud: Option<&Place>,
    given: &mut Object,
    report: &mut Report<'_>,
) -> Option<ProvisionerSettings> {
    let (local_at, ec2_at) = (given.place("local"), given.place("ec2"));
    let mut local = given.object("local");
    let ec2 = given.take("ec2").and_then(Placed::into_object).and_then(|block| ec2::ec2(block, report));
    let mut unused = |at: Option<Place>, key, provisioner| {
        if let Some(at) = at {
            let message = format!("`{key}` means nothing, since the provisioner is `{provisioner}`");
            report
                .warning(&at, "unused_key", message)
                .help(format!("write provisioner: {key}, or remove it"));
        }
    };
    let Some(at) = cloud else {
        unused(ec2_at, "ec2", "local");
        let count =
            |number: Option<i64>, default| number.and_then(|n| u32::try_from(n).ok()).unwrap_or(default);
        let (workers, slots) = (count(local.int("workers"), 4), count(local.int("slots"), 1));
        return Some(ProvisionerSettings::Local(LocalSettings { workers, slots }));
    };
    unused(local_at, "local", "ec2");
    if ec2_at.is_none() {
        let message = "the provisioner `ec2` needs the key `ec2`";
        report
            .error(at, "missing_key", message)
            .help("it holds at least region, subnets and security_groups");
    }
    ec2.map(|ec2| ProvisionerSettings::Ec2(Box::new(ec2)))
}

/// Part of machines' names and tags, so it obeys the same rule as a repository's name.
fn installation(given: Option<Placed<String>>, report: &mut Report<'_>) -> String {
    let Some(Placed { at, value }) = given else {
        return "data-runner".to_owned();
    };
    if let Err(error) = value.parse::<RepoName>() {
        let message = format!("`{}` cannot be the name of an installation", value.escape_debug());
        report.error(&at, "invalid_value", message).help(error.expected);
    }
    value
}

fn repositories(given: Vec<Placed<Value>>, report: &mut Report<'_>) -> Vec<RepositorySettings> {
    let mut repositories: Vec<RepositorySettings> = Vec::new();
    for item in given.into_iter().filter_map(Placed::into_object) {
        let at = item.value.place("name");
        let Some(repository) = repository(item.value, report) else {
            continue;
        };
        if let Some(at) = at
            && repositories.iter().any(|other| other.name == repository.name)
        {
            let message = format!("there are two repositories of the name `{}`", repository.name);
            report.error(&at, "duplicate_value", message).help("give one of them another name");
        }
        repositories.push(repository);
    }
    repositories
}

fn repository(mut given: Object, report: &mut Report<'_>) -> Option<RepositorySettings> {
    let name = given.text("name").and_then(|name| match name.value.parse::<RepoName>() {
        Ok(name) => Some(name),
        Err(error) => {
            let message = format!("`{}` cannot be the name of a repository", name.value.escape_debug());
            report.error(&name.at, "invalid_value", message).help(error.expected);
            None
        }
    });
    let url = given.text("url").and_then(|url| match check_repo_url(&url.value) {
        Ok(()) => Some(url.value),
        Err(refused) => {
            let code = match refused {
                UrlRefused::HoldsPassword => "password_in_url",
                UrlRefused::Malformed | UrlRefused::Scheme => "invalid_value",
            };
            report.hide(&url.at);
            report
                .error(&url.at, code, format!("the repository's URL is refused: {refused}"))
                .help(refused.help());
            None
        }
    });
    let reference = given.text("ref").and_then(|reference| {
        let bad = reference.value.starts_with('-')
            || reference.value.contains(|c: char| c.is_control() || c == ' ');
        if bad {
            let message = format!("`{}` cannot be a ref", reference.value.escape_debug());
            report.error(&reference.at, "invalid_value", message).help("write a branch, a tag or a commit");
        }
        (!bad).then_some(reference.value)
    });
    let ssh_key = given.text("ssh_key").and_then(|key| key_source(&key, report));
    let known_hosts = given.text("known_hosts").and_then(|path| absolute(&path, report));
    let poll = given.duration("poll").unwrap_or(Duration::from_secs(60));
    let reference = reference.unwrap_or_else(|| "main".to_owned());
    Some(RepositorySettings { name: name?, url: url?, reference, poll, ssh_key, known_hosts })
}

fn key_source(key: &Placed<String>, report: &mut Report<'_>) -> Option<KeySource> {
    if let Ok(reference) = key.value.parse() {
        return Some(KeySource::Secret(reference));
    }
    if key.value.contains("://") {
        report.error(&key.at, "invalid_value", NotASecretRef.to_string()).help("or an absolute path");
        return None;
    }
    if key.value.contains("PRIVATE KEY") {
        let message = "the key itself stands here";
        report.hide(&key.at);
        report
            .error(&key.at, "literal_secret", message)
            .help("write where it is: an absolute path, env://NAME, aws-ssm:///path/name or aws-secretsmanager://id#key");
        return None;
    }
    absolute(key, report).map(KeySource::File)
}

fn hooks(mut given: Object) -> HookSettings {
    let mut secrets = |key| {
        let given = given.take(key);
        let items = match given {
            Some(Placed { value: Value::List(items), .. }) => items,
            one => one.into_iter().collect(),
        };
        // What is no reference was refused by its shape.
        items.into_iter().filter_map(Placed::into_text).filter_map(|text| text.value.parse().ok()).collect()
    };
    HookSettings { github: secrets("github"), gitlab: secrets("gitlab") }
}

fn absolute(path: &Placed<String>, report: &mut Report<'_>) -> Option<PathBuf> {
    if Path::new(&path.value).is_absolute() {
        return Some(path.value.clone().into());
    }
    let message = format!("`{}` must be an absolute path", path.at.pointer.dotted());
    report.error(&path.at, "invalid_path", message).did_you_mean(None);
    None
}

fn agents(at: Option<Place>, mut given: Object, report: &mut Report<'_>) -> AgentSettings {
    let mut duration = |key, default| given.duration(key).unwrap_or(Duration::from_secs(default));
    let agents = AgentSettings {
        heartbeat: duration("heartbeat", 5),
        suspect_after: duration("suspect_after", 30),
        lost_after: duration("lost_after", 120),
    };
    if let Some(at) = at
        && !(agents.heartbeat < agents.suspect_after && agents.suspect_after < agents.lost_after)
    {
        let message = "an agent would be given up before it could speak";
        report
            .error(&at, "out_of_range", message)
            .help("heartbeat (5s) < suspect_after (30s) < lost_after (2m)");
    }
    agents
}
