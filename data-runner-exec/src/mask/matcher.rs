//! Finds many byte strings in one pass (Aho and Corasick, 1975).

use std::collections::{BTreeSet, VecDeque};

/// A place in the tree of the searched strings: the longest beginning of one with which the text so far ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct NodeId(u32);

pub(super) struct Matcher {
    nodes: Vec<Node>,
    /// From the root by each byte; most text never leaves it.
    root: Box<[NodeId; 256]>,
}

struct Node {
    /// Sorted by byte. Nearly every node has one.
    edges: Vec<(u8, NodeId)>,
    /// The longest beginning that is a proper end of this one.
    fallback: NodeId,
    depth: u32,
    /// The length of the longest searched string that ends here; 0: none.
    longest: u32,
}

impl Matcher {
    pub(super) const ROOT: NodeId = NodeId(0);

    pub(super) fn new(strings: &BTreeSet<Vec<u8>>) -> Self {
        let mut matcher = Self { nodes: vec![Node::at(0)], root: Box::new([Self::ROOT; 256]) };
        for string in strings {
            matcher.insert(string);
        }
        for &(byte, child) in &matcher.nodes[0].edges {
            matcher.root[usize::from(byte)] = child;
        }
        matcher.link();
        matcher
    }

    fn insert(&mut self, string: &[u8]) {
        let mut node = Self::ROOT;
        for (depth, &byte) in (1..).zip(string) {
            node = match self.child(node, byte) {
                Some(child) => child,
                None => {
                    let child = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
                    self.nodes.push(Node::at(depth));
                    let edges = &mut self.node_mut(node).edges;
                    let place = edges.partition_point(|&(other, _)| other < byte);
                    edges.insert(place, (byte, child));
                    child
                }
            };
        }
        let depth = self.node(node).depth;
        self.node_mut(node).longest = depth;
    }

    /// Fallbacks, the shallow nodes before the deep ones, since each follows from a shallower one.
    fn link(&mut self) {
        let mut queue: VecDeque<NodeId> = self.nodes[0].edges.iter().map(|&(_, child)| child).collect();
        while let Some(node) = queue.pop_front() {
            for (byte, child) in self.node(node).edges.clone() {
                let fallback = self.next(self.node(node).fallback, byte);
                let ends_there = self.node(fallback).longest;
                let below = self.node_mut(child);
                below.fallback = fallback;
                below.longest = below.longest.max(ends_there);
                queue.push_back(child);
            }
        }
    }

    /// Where the text is after one more byte.
    pub(super) fn next(&self, mut node: NodeId, byte: u8) -> NodeId {
        while node != Self::ROOT {
            match self.child(node, byte) {
                Some(child) => return child,
                None => node = self.node(node).fallback,
            }
        }
        self.root[usize::from(byte)]
    }

    /// How many of the next bytes stay at the root.
    pub(super) fn skip(&self, text: &[u8]) -> usize {
        let leaves = |&byte: &u8| self.root[usize::from(byte)] != Self::ROOT;
        text.iter().position(leaves).unwrap_or(text.len())
    }

    /// How many bytes before this place may be the beginning of a searched string.
    pub(super) fn depth(&self, node: NodeId) -> usize {
        self.node(node).depth as usize
    }

    /// The length of the longest searched string that ends here; 0: none.
    pub(super) fn longest_match(&self, node: NodeId) -> usize {
        self.node(node).longest as usize
    }

    fn child(&self, node: NodeId, byte: u8) -> Option<NodeId> {
        let edges = &self.node(node).edges;
        match edges.as_slice() {
            [(only, child)] => (*only == byte).then_some(*child),
            edges => {
                let place = edges.binary_search_by_key(&byte, |&(other, _)| other).ok()?;
                Some(edges[place].1)
            }
        }
    }

    fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.0 as usize]
    }

    fn node_mut(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[node.0 as usize]
    }
}

impl Node {
    fn at(depth: u32) -> Self {
        Self { edges: Vec::new(), fallback: Matcher::ROOT, depth, longest: 0 }
    }
}
