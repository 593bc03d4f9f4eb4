//! `workflow graph`: which workflows start which.

use std::collections::{BTreeMap, BTreeSet};

use data_runner_rest::api::{Workflow, WorkflowState};

use super::context::Context;
use crate::error::Error;
use crate::output::{say, style};

/// Who needs whom, by full names.
#[derive(Debug, Default)]
struct Graph {
    /// What each workflow needs.
    needs: BTreeMap<String, BTreeSet<String>>,
    /// What its success starts.
    starts: BTreeMap<String, BTreeSet<String>>,
}

/// Prints all of it, or what lies before and behind one workflow.
pub async fn graph(context: &Context, only: Option<&str>) -> Result<u8, Error> {
    let all: Vec<Workflow> = context.list("/workflows", &[], u32::MAX).await?;
    let mut shown: Vec<Workflow> = all.into_iter().filter(is_there).collect();
    let graph = Graph::of(&shown);
    if let Some(only) = only {
        let path = format!("/workflows/{}", super::run::encode_name(only));
        let workflow: Workflow = context.client.get(&path).await.map_err(super::workflow::unknown)?;
        let around = graph.around(&name(&workflow));
        shown.retain(|it| around.contains(&name(it)));
    }
    let graph = Graph::of(&shown);
    if graph.starts.is_empty() && context.output.is_table() {
        say("none of them needs another one; docs/dependencies.md says how");
    }
    context.output.many(&shown, name, |_| graph.draw())?;
    Ok(0)
}

fn is_there(workflow: &Workflow) -> bool {
    match workflow.state {
        WorkflowState::Valid | WorkflowState::Broken => true,
        WorkflowState::Removed | WorkflowState::Deleted => false,
    }
}

fn name(workflow: &Workflow) -> String {
    format!("{}/{}", workflow.repo, workflow.name)
}

impl Graph {
    fn of(workflows: &[Workflow]) -> Self {
        let mut graph = Self::default();
        for workflow in workflows {
            let needs = graph.needs.entry(name(workflow)).or_default();
            for need in &workflow.needs {
                needs.insert(need.workflow.clone());
                graph.starts.entry(need.workflow.clone()).or_default().insert(name(workflow));
            }
        }
        graph
    }

    /// A workflow, all that lead to it, and all that it leads to.
    fn around(&self, workflow: &str) -> BTreeSet<String> {
        let mut found = reached(workflow, &self.needs);
        found.append(&mut reached(workflow, &self.starts));
        found
    }

    /// A tree below each workflow that needs no other. One that needs several stands below each of them, and what
    /// follows it below the first only.
    fn draw(&self) -> String {
        let needed = self.starts.keys().filter(|name| self.needs.get(*name).is_none_or(BTreeSet::is_empty));
        let (mut lines, mut told) = (Vec::new(), BTreeSet::new());
        for root in needed {
            lines.push(style::bold(root));
            self.below(root, "", &mut told, &mut lines);
        }
        lines.join("\n")
    }

    fn below(&self, name: &str, indent: &str, told: &mut BTreeSet<String>, lines: &mut Vec<String>) {
        let Some(starts) = self.starts.get(name) else { return };
        if !told.insert(name.to_owned()) {
            lines.push(style::dim(&format!("{indent}└─ … as above")));
            return;
        }
        for (at, next) in starts.iter().enumerate() {
            let last = at + 1 == starts.len();
            let (branch, rest) = if last { ("└─", "   ") } else { ("├─", "│  ") };
            let others = self.needs.get(next).map_or(0, BTreeSet::len).saturating_sub(1);
            let with = if others == 0 { String::new() } else { style::dim(&format!("  with {others} more")) };
            lines.push(format!("{indent}{branch} {next}{with}"));
            self.below(next, &format!("{indent}{rest}"), told, lines);
        }
    }
}

/// What can be reached from a workflow, itself included.
fn reached(from: &str, edges: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    let (mut found, mut open) = (BTreeSet::new(), vec![from.to_owned()]);
    while let Some(name) = open.pop() {
        if found.insert(name.clone()) {
            open.extend(edges.get(&name).into_iter().flatten().cloned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(needs: &[(&str, &[&str])]) -> Graph {
        let mut graph = Graph::default();
        for (name, needs) in needs {
            graph
                .needs
                .entry((*name).to_owned())
                .or_default()
                .extend(needs.iter().map(|it| (*it).to_owned()));
            for need in *needs {
                graph.needs.entry((*need).to_owned()).or_default();
                graph.starts.entry((*need).to_owned()).or_default().insert((*name).to_owned());
            }
        }
        graph
    }

    #[test]
    fn each_workflow_stands_below_those_that_it_needs() {
        let graph = graph(&[
            ("shop/report", &["shop/orders", "shop/prices"]),
            ("shop/mail", &["shop/report"]),
            ("shop/archive", &["shop/orders"]),
            ("shop/alone", &[]),
        ]);
        insta::assert_snapshot!(anstream::adapter::strip_str(&graph.draw()).to_string());
    }

    #[test]
    fn around_one_are_those_before_and_behind_it() {
        let graph = graph(&[("b", &["a"]), ("c", &["b"]), ("d", &["a"])]);
        assert_eq!(graph.around("b"), ["a", "b", "c"].map(str::to_owned).into());
    }

    #[test]
    fn a_circle_over_repositories_ends() {
        let graph = graph(&[("b/x", &["a/x"]), ("a/x", &["b/x"]), ("a/x", &["start"])]);
        assert_eq!(graph.around("a/x").len(), 3);
        assert!(graph.draw().lines().count() < 8, "{}", graph.draw());
    }
}
