//! Environment variables: plain values, and references to secrets.

use std::collections::BTreeMap;

use crate::workflow::SecretRef;
use crate::yaml::{Placed, Report};

/// Names that end like this hold what should not stand in a repository.
const SECRET_WORDS: [&str; 5] = ["PASSWORD", "PASSWD", "SECRET", "TOKEN", "API_KEY"];

/// Reads plain values; what is refused is missing in the answer.
pub(super) fn env(
    given: Vec<(Placed<String>, Placed<String>)>,
    report: &mut Report<'_>,
) -> BTreeMap<String, String> {
    let mut env = BTreeMap::new();
    for (name, value) in given {
        if !is_free_name(&name, report) {
            continue;
        }
        let upper = name.value.to_uppercase();
        if SECRET_WORDS.iter().any(|word| upper.ends_with(word)) && !value.value.is_empty() {
            let message = format!("`{}` looks like a secret, and stands in the repository", name.value);
            let help =
                "whoever reads the repository or the API reads it too; write a reference below `secrets`";
            report.hide(&value.at);
            report.warning(&value.at, "literal_secret", message).help(help);
        }
        env.insert(name.value, value.value);
    }
    env
}

/// Reads references; a variable has one value, so what `env` holds cannot stand here.
pub(super) fn secrets(
    given: Vec<(Placed<String>, Placed<String>)>,
    env: &BTreeMap<String, String>,
    report: &mut Report<'_>,
) -> BTreeMap<String, SecretRef> {
    let mut secrets = BTreeMap::new();
    for (name, reference) in given {
        if !is_free_name(&name, report) {
            continue;
        }
        if env.contains_key(&name.value) {
            let message = format!("`{}` stands in `env`, too", name.value);
            report.error(&name.at, "duplicate_value", message).help("remove one of them");
        }
        // The shape lets nothing else through.
        secrets.extend(reference.value.parse().ok().map(|reference| (name.value, reference)));
    }
    secrets
}

fn is_free_name(name: &Placed<String>, report: &mut Report<'_>) -> bool {
    let mut bytes = name.value.bytes();
    let valid = bytes.next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if !valid {
        let message = format!("`{}` cannot be the name of an environment variable", name.value);
        let help = "a letter or _, then letters, digits and _";
        report.error(&name.at, "invalid_env_name", message).help(help);
        return false;
    }
    if name.value.to_uppercase().starts_with("DATA_RUNNER_") {
        let message = format!("`{}` is reserved", name.value);
        let help = "Data Runner sets what begins with DATA_RUNNER_";
        report.error(&name.at, "reserved_env_name", message).help(help);
        return false;
    }
    true
}
