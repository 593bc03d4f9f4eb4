//! The tables of keys in the documentation, made from the tables that the reader uses: a page has them between marks,
//! and a test says when they are not what they should be.
//!
//! `UPDATE_DOCS=1 cargo test -p data-runner-core --lib reference` writes them.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::{Key, Kind, Loaded, Need, Node, Report, Shape, load, write_duration, write_size};

const BEGIN: &str = "<!-- keys of ";
const END: &str = "<!-- end of keys -->";

/// Keys of a mapping, and where it stands: `budget`, `retries[].backoff`; the whole file is `root`.
type Tables = BTreeMap<String, &'static [Key]>;

fn tables(root: &str, shape: &'static Shape) -> Tables {
    let mut found = Tables::new();
    collect("", root, shape, &mut found);
    found
}

fn collect(at: &str, name: &str, shape: &'static Shape, found: &mut Tables) {
    match shape {
        Shape::Object(keys) => {
            found.insert(name.to_owned(), *keys);
            for key in *keys {
                let path = if at.is_empty() { key.name.to_owned() } else { format!("{at}.{}", key.name) };
                collect(&path, &path, &key.shape, found);
            }
        }
        Shape::List { of, .. } | Shape::Map { of, .. } => collect(at, name, of, found),
        Shape::Either { scalar, other } => {
            collect(at, name, scalar, found);
            collect(at, name, other, found);
        }
        Shape::Text(_)
        | Shape::Choice(_)
        | Shape::Reference
        | Shape::Bool
        | Shape::Int { .. }
        | Shape::Number { .. }
        | Shape::Duration { .. }
        | Shape::Size { .. }
        | Shape::Scalar => {}
    }
}

fn table(keys: &[Key]) -> String {
    let mut text = "| key | holds | what it says |\n|---|---|---|\n".to_owned();
    for key in keys {
        let need = match key.need {
            Need::Required => "Required. ",
            Need::Optional => "",
        };
        // A pipe would end the cell.
        let about = key.about.replace('|', "\\|");
        writeln!(text, "| `{}` | {} | {need}{about} |", key.name, holds(&key.shape)).unwrap();
    }
    text
}

/// What a value may be, as people say it.
fn holds(shape: &Shape) -> String {
    match shape {
        Shape::Text(rule) => format!("text, up to {} bytes", grouped(rule.max)),
        Shape::Choice(names) => names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "),
        Shape::Reference => "a reference to a secret".to_owned(),
        Shape::Bool => "`true` or `false`".to_owned(),
        Shape::Int { min, max } => format!("a whole number, {min} to {}", grouped(max)),
        Shape::Number { min, max } => format!("a number, {min} to {}", grouped(max)),
        Shape::Duration { min, max } => {
            format!("a duration, {} to {}", write_duration(*min), write_duration(*max))
        }
        Shape::Size { min, max } => format!("a size, {} to {}", write_size(*min), write_size(*max)),
        Shape::Scalar => "text, a number, `true` or `false`".to_owned(),
        Shape::List { of, max, .. } => format!("a list, up to {}: {}", grouped(max), holds(of)),
        Shape::Map { of, max } => format!("names, up to {}, each with {}", grouped(max), holds(of)),
        Shape::Object(_) => "a mapping".to_owned(),
        Shape::Either { scalar, other } => format!("{}; or {}", holds(scalar), holds(other)),
    }
}

/// `10000` as `10,000`.
fn grouped(number: impl ToString) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The page with the tables as they should be.
fn filled(page: &str, tables: &Tables) -> String {
    let mut missing: BTreeSet<&String> = tables.keys().collect();
    let mut pieces = page.split(BEGIN);
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (name, rest) = piece.split_once(" -->").expect("a mark ends with -->");
        let (_, after) = rest.split_once(END).expect("a table ends with its mark");
        let keys = tables.get(name).unwrap_or_else(|| panic!("there are no keys of {name}"));
        write!(text, "{BEGIN}{name} -->\n{}{END}{after}", table(keys)).unwrap();
        missing.remove(&name.to_owned());
    }
    assert!(missing.is_empty(), "the page has no table for the keys of {missing:?}");
    text
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn check_page(page: &str, root: &str, shape: &'static Shape) {
    let path = workspace().join("docs").join(page);
    let old = std::fs::read_to_string(&path).unwrap();
    let new = filled(&old, &tables(root, shape));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, new).unwrap();
    } else {
        let again = "UPDATE_DOCS=1 cargo test -p data-runner-core --lib reference";
        assert!(old == new, "docs/{page} is not what the tables of keys say; {again}");
    }
}

#[test]
fn the_page_of_config_yaml_has_every_key() {
    check_page("config.md", "config.yaml", &crate::workflow::config::CONFIG);
}

#[test]
fn the_page_of_supervisor_yaml_has_every_key() {
    check_page("supervisor.md", "supervisor.yaml", &crate::settings::SETTINGS);
}

/// The paths of all keys that a file of this shape may have.
fn all_keys(tables: &Tables, root: &str) -> BTreeSet<String> {
    let of_table = |(name, keys): (&String, &&'static [Key])| {
        let before = if name == root { String::new() } else { format!("{name}.") };
        keys.iter().map(|key| format!("{before}{}", key.name)).collect::<Vec<_>>()
    };
    tables.iter().flat_map(of_table).collect()
}

fn used(at: &str, node: &Node, shape: &'static Shape, found: &mut BTreeSet<String>) {
    match (shape.for_node(node), &node.kind) {
        (Shape::Object(keys), Kind::Map(entries)) => {
            for entry in entries {
                let Some(key) = keys.iter().find(|key| key.name == entry.key) else { continue };
                let path = if at.is_empty() { entry.key.clone() } else { format!("{at}.{}", entry.key) };
                used(&path, &entry.value, &key.shape, found);
                found.insert(path);
            }
        }
        (Shape::Map { of, .. }, Kind::Map(entries)) => {
            entries.iter().for_each(|entry| used(at, &entry.value, of, found));
        }
        (Shape::List { of, .. }, Kind::List(nodes)) => {
            nodes.iter().for_each(|node| used(at, node, of, found));
        }
        _ => {}
    }
}

/// The keys of this shape that no file of the example repository uses.
fn unused(files: &[PathBuf], root: &str, shape: &'static Shape) -> Vec<String> {
    let mut found = BTreeSet::new();
    for file in files {
        let text = std::fs::read_to_string(file).unwrap();
        let mut report = Report::new("example", &text);
        let Loaded::Tree(node) = load(&text, 0, &mut report) else {
            panic!("{} cannot be read", file.display());
        };
        used("", &node, shape, &mut found);
    }
    all_keys(&tables(root, shape), root).into_iter().filter(|key| !found.contains(key)).collect()
}

/// `config.yaml` below `folder`.
fn configurations(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path().join("config.yaml"));
    entries.filter(|file| file.exists()).collect()
}

#[test]
fn the_example_repository_uses_every_key() {
    let example = workspace().join("examples/shop");
    let of_workflows = configurations(&example.join("workflows"));
    let unused_of_workflows = unused(&of_workflows, "config.yaml", &crate::workflow::config::CONFIG);
    assert_eq!(unused_of_workflows, Vec::<String>::new(), "add them to examples/shop/workflows");
    let settings = ["supervisor.yaml", "supervisor-aws.yaml"].map(|name| example.join(name));
    let unused_of_settings = unused(&settings, "supervisor.yaml", &crate::settings::SETTINGS);
    assert_eq!(unused_of_settings, Vec::<String>::new(), "add them to examples/shop");
}
