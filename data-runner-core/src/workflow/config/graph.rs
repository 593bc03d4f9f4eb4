//! What the workflows of a repository need of each other: whether it is there, and whether it leads in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::{Problem, decode};
use crate::id::{RepoName, WorkflowName};
use crate::workflow::Need;
use crate::yaml::{Kind, Loaded, Node, Place, Pointer, Report, Span, load, nearest};

/// A workflow of a repository, as far as others and their needs go.
#[derive(Debug, Clone, Copy)]
pub struct NeedsOf<'a> {
    /// Its name.
    pub name: &'a WorkflowName,
    /// The path of its `config.yaml`, for problems.
    pub file: &'a str,
    /// The text of it, for their places.
    pub text: &'a [u8],
    /// What it needs; nothing if its configuration is broken.
    pub needs: &'a [Need],
}

/// Checks what the workflows of one repository need of each other. The answer has a list for each of `workflows`, in
/// their order: `unknown_workflow`, `needs_cycle`. Workflows of other repositories are not looked at: they come and go
/// by themselves. `repo` is the repository's name, where it is known.
pub fn check_needs(repo: Option<&RepoName>, workflows: &[NeedsOf<'_>]) -> Vec<Vec<Problem>> {
    let own = |need: &Need| need.workflow.repo.is_none() || need.workflow.repo.as_ref() == repo;
    let graph: Graph<'_> = workflows
        .iter()
        .map(|it| {
            (it.name, it.needs.iter().filter(|need| own(need)).map(|need| &need.workflow.name).collect())
        })
        .collect();
    let of = |it: &NeedsOf<'_>| {
        let Ok(text) = decode(it.file, it.text) else {
            return Vec::new();
        };
        let mut report = Report::new(it.file, text);
        let places = places(text);
        for need in it.needs.iter().filter(|need| own(need)) {
            let written = need.workflow.to_string();
            let top = Place { span: Span::start(0), pointer: Pointer::default() };
            let at = places.get(&written).unwrap_or(&top);
            check(it.name, &need.workflow.name, &graph, at, &mut report);
        }
        report.into_problems()
    };
    workflows.iter().map(of).collect()
}

type Graph<'a> = BTreeMap<&'a WorkflowName, Vec<&'a WorkflowName>>;

fn check(name: &WorkflowName, needed: &WorkflowName, graph: &Graph<'_>, at: &Place, report: &mut Report<'_>) {
    if !graph.contains_key(needed) {
        let reported = report.error(
            at,
            "unknown_workflow",
            format!("there is no workflow `{needed}` in this repository"),
        );
        match nearest(needed.as_str(), graph.keys().map(|name| name.as_str())) {
            Some(near) => reported.did_you_mean(Some(near)),
            None => reported.help("name a workflow of another repository by repo/name"),
        }
    } else if let Some(way) = way(needed, name, graph) {
        let way: Vec<&str> = way.iter().map(|name| name.as_str()).collect();
        let message = format!("`{name}` needs itself: {name} → {}", way.join(" → "));
        report.error(at, "needs_cycle", message).help("remove one of these needs");
    }
}

/// A shortest way along needs from one workflow to another, both ends included.
fn way<'a>(from: &'a WorkflowName, to: &WorkflowName, graph: &Graph<'a>) -> Option<Vec<&'a WorkflowName>> {
    let mut ways = std::collections::VecDeque::from([vec![from]]);
    let mut seen = BTreeSet::from([from]);
    while let Some(way) = ways.pop_front() {
        let last = *way.last()?;
        if last == to {
            return Some(way);
        }
        for &next in graph.get(last).into_iter().flatten() {
            if seen.insert(next) {
                ways.push_back(way.iter().copied().chain([next]).collect());
            }
        }
    }
    None
}

/// Where each need stands, by how it is written.
fn places(text: &str) -> BTreeMap<String, Place> {
    // What is wrong with the text was reported when it was parsed.
    let Loaded::Tree(root) = load(text, 0, &mut Report::new("", text)) else {
        return BTreeMap::new();
    };
    let Some(Node { kind: Kind::List(items), .. }) = value(&root, "needs") else {
        return BTreeMap::new();
    };
    let place = |(index, item): (usize, &Node)| {
        let node = value(item, "workflow")?;
        let Kind::Scalar(scalar) = &node.kind else {
            return None;
        };
        let pointer = Pointer::default().child("needs").child(index.to_string()).child("workflow");
        Some((scalar.to_text(), Place { span: node.at, pointer }))
    };
    items.iter().enumerate().filter_map(place).collect()
}

fn value<'n>(node: &'n Node, key: &str) -> Option<&'n Node> {
    let Kind::Map(entries) = &node.kind else {
        return None;
    };
    entries.iter().find(|entry| entry.key == key).map(|entry| &entry.value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::workflow::WorkerTypes;
    use crate::workflow::config::{ParseContext, parse, render};

    fn found(repository: &[(&str, &str)]) -> String {
        let types = WorkerTypes::default();
        let context = ParseContext { worker_types: &types, files: None };
        let read = |(name, needs): &(&str, &str)| {
            let text = format!("worker_type: polars\ninstance_size: t3.medium\nneeds: {needs}\n");
            let file = format!("workflows/{name}/config.yaml");
            let needs = parse(&file, text.as_bytes(), &context).value().unwrap().needs.clone();
            (name.parse::<WorkflowName>().unwrap(), file, text, needs)
        };
        let read: Vec<_> = repository.iter().map(read).collect();
        let workflows: Vec<NeedsOf<'_>> = read
            .iter()
            .map(|(name, file, text, needs)| NeedsOf { name, file, text: text.as_bytes(), needs })
            .collect();
        let repo = "etl".parse().unwrap();
        render(&check_needs(Some(&repo), &workflows).concat(), false)
    }

    #[test]
    fn needs_that_are_there_and_go_one_way_are_fine() {
        let good = [
            ("a", "[]"),
            ("b", "[{workflow: a}]"),
            ("c", "[{workflow: a}, {workflow: etl/b}, {workflow: elsewhere/c}]"),
        ];
        assert_eq!(found(&good), "");
    }

    #[test]
    fn a_circle_is_told_with_its_way_and_an_unknown_name_with_the_nearest_one() {
        insta::assert_snapshot!(found(&[
            ("raw_orders", "[{workflow: etl/report}]"),
            ("clean", "[{workflow: raw_order, within: 2h}]"),
            ("orders", "[{workflow: raw_orders}]"),
            ("report", "[{workflow: orders}, {workflow: clean}]"),
            ("beside", "[{workflow: report}]"),
        ]));
    }
}
