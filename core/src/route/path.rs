//! A compressed trie over byte strings: which of many keys a string starts with, at a cost that follows the string's
//! length and not the number of keys.
//!
//! A node's children are found through a table over the range of their first bytes, so a step costs the same for 2 children
//! and 200.
//! The same trie serves paths (read forward, letters' case kept or folded) and wildcard hosts (read backward).

/// How a stored key must relate to the string.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fit {
    /// The string starts with the key.
    Prefix,
    /// The string starts with the key, and a `/` follows or the string ends there.
    Segments,
    /// The string is the key.
    Whole,
    /// The string starts with the key and is longer.
    Longer,
}

/// How the bytes of a string are read.
pub trait View {
    /// The byte at this distance from the start.
    fn at(&self, index: usize) -> Option<u8>;

    /// The bytes from `index` on start with `label`.
    #[inline]
    fn has(&self, index: usize, label: &[u8]) -> bool {
        label.iter().enumerate().all(|(offset, byte)| self.at(index + offset) == Some(*byte))
    }
}

/// Forward, case kept.
pub struct Forward<'a>(pub &'a [u8]);
/// Forward, ASCII letters in lower case.
pub struct Folded<'a>(pub &'a [u8]);
/// From the last byte to the first.
pub struct Backward<'a>(pub &'a [u8]);

impl View for Forward<'_> {
    #[inline]
    fn at(&self, index: usize) -> Option<u8> {
        self.0.get(index).copied()
    }

    #[inline]
    fn has(&self, index: usize, label: &[u8]) -> bool {
        self.0.get(index..).is_some_and(|rest| rest.starts_with(label))
    }
}

impl View for Folded<'_> {
    #[inline]
    fn at(&self, index: usize) -> Option<u8> {
        self.0.get(index).map(u8::to_ascii_lowercase)
    }
}

impl View for Backward<'_> {
    #[inline]
    fn at(&self, index: usize) -> Option<u8> {
        self.0.len().checked_sub(index + 1).and_then(|at| self.0.get(at)).copied()
    }
}

/// What is stored under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    value: u32,
    fit: Fit,
}

#[derive(Debug, Default)]
struct Node {
    /// Bytes from the parent's end to here, after the one that the edge stands for, in [`Trie::bytes`].
    label: (u32, u32),
    /// What is stored here, in [`Trie::items`], ascending by value.
    items: (u32, u32),
    /// Smallest value at or below this node, so that a walk for a smaller one need not go on.
    least: u32,
    /// The first child; the others follow it. 0 for a leaf, as the root is nobody's child.
    first: u32,
    /// Where the children's table starts in [`Trie::steps`].
    steps: u32,
    /// The least of the children's first bytes, and how many bytes the table covers from there.
    low: u8,
    span: u16,
    /// How many children there are.
    children: u16,
}

/// An immutable trie of keys with `u32` values.
#[derive(Debug, Default)]
pub struct Trie {
    nodes: Box<[Node]>,
    /// By byte: the child's number, counted from 1; 0 for none.
    steps: Box<[u16]>,
    items: Box<[Item]>,
    bytes: Box<[u8]>,
}

impl Trie {
    /// Builds a trie. Keys may repeat.
    pub fn build(mut keys: Vec<(Vec<u8>, Fit, u32)>) -> Trie {
        if keys.is_empty() {
            return Trie::default();
        }
        keys.sort();
        let mut builder = Builder { keys, ..Builder::default() };
        builder.nodes.push(Node::default());
        let mut pending = vec![(0usize, 0usize, builder.keys.len(), 0usize)];
        while let Some((node, from, to, depth)) = pending.pop() {
            builder.fill(node, from, to, depth, &mut pending);
        }
        builder.settle_least();
        Trie {
            nodes: builder.nodes.into(),
            steps: builder.steps.into(),
            items: builder.items.into(),
            bytes: builder.bytes.into(),
        }
    }

    /// Nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The smallest stored value that is at least `floor`, less than `ceiling` and fits the string.
    pub fn least<V: View>(&self, view: &V, floor: u32, ceiling: u32) -> Option<u32> {
        let mut best = ceiling;
        self.walk(view, |node, depth| {
            if node.least >= best {
                return false;
            }
            let items = &self.items[node.items.0 as usize..node.items.1 as usize];
            let start = if floor == 0 { 0 } else { items.partition_point(|item| item.value < floor) };
            let found = items[start..].iter().find(|item| fits(item.fit, view, depth));
            if let Some(item) = found.filter(|item| item.value < best) {
                best = item.value;
            }
            true
        });
        (best < ceiling).then_some(best)
    }

    /// The value of the longest stored key that fits the string; of several of that length the smallest.
    pub fn longest<V: View>(&self, view: &V) -> Option<u32> {
        let mut best = None;
        self.walk(view, |node, depth| {
            let items = &self.items[node.items.0 as usize..node.items.1 as usize];
            best = items.iter().find(|item| fits(item.fit, view, depth)).map(|item| item.value).or(best);
            true
        });
        best
    }

    #[inline]
    fn child(&self, node: &Node, byte: u8) -> Option<&Node> {
        let step = u16::from(byte.wrapping_sub(node.low));
        if step >= node.span {
            return None;
        }
        match self.steps.get(node.steps as usize + usize::from(step))? {
            0 => None,
            number => self.nodes.get(node.first as usize + usize::from(*number) - 1),
        }
    }

    /// Calls `visit` with every node on the string's way that stores something, and the length of its key, until it returns false.
    #[inline]
    fn walk<'t, V: View>(&'t self, view: &V, mut visit: impl FnMut(&'t Node, usize) -> bool) {
        let Some(mut node) = self.nodes.first() else { return };
        let mut depth = 0;
        loop {
            let (from, to) = node.label;
            if from != to {
                let label = &self.bytes[from as usize..to as usize];
                if !view.has(depth, label) {
                    return;
                }
                depth += label.len();
            }
            if node.items.0 != node.items.1 && !visit(node, depth) || node.first == 0 {
                return;
            }
            let Some(byte) = view.at(depth) else { return };
            let Some(child) = self.child(node, byte) else { return };
            depth += 1;
            node = child;
        }
    }
}

#[inline]
fn fits<V: View>(fit: Fit, view: &V, depth: usize) -> bool {
    match fit {
        Fit::Prefix => true,
        Fit::Segments => matches!(view.at(depth), None | Some(b'/')),
        Fit::Whole => view.at(depth).is_none(),
        Fit::Longer => view.at(depth).is_some(),
    }
}

#[derive(Default)]
struct Builder {
    keys: Vec<(Vec<u8>, Fit, u32)>,
    nodes: Vec<Node>,
    steps: Vec<u16>,
    items: Vec<Item>,
    bytes: Vec<u8>,
}

impl Builder {
    /// Fills a node with the sorted keys `from..to`, which agree in their first `depth` bytes.
    fn fill(
        &mut self,
        node: usize,
        from: usize,
        to: usize,
        depth: usize,
        pending: &mut Vec<(usize, usize, usize, usize)>,
    ) {
        let (first, last) = (&self.keys[from].0, &self.keys[to - 1].0);
        // Sorted: what the first and the last have in common, all have.
        let shared = first[depth..].iter().zip(&last[depth..]).take_while(|(a, b)| a == b).count();
        let end = depth + shared;
        let label = self.bytes.len() as u32;
        self.bytes.extend_from_slice(&first[depth..end]);
        let own = self.keys[from..to].iter().take_while(|(key, ..)| key.len() == end).count();
        let start = self.items.len();
        self.items.extend(
            self.keys[from..from + own].iter().map(|(_, fit, value)| Item { value: *value, fit: *fit }),
        );
        self.items[start..].sort();
        let least = self.items[start..].first().map_or(u32::MAX, |item| item.value);
        let children = self.groups(from + own, to, end);
        self.nodes[node] = Node {
            label: (label, self.bytes.len() as u32),
            items: (start as u32, self.items.len() as u32),
            least,
            ..Node::default()
        };
        self.add_children(node, &children, end, pending);
    }

    /// Splits the keys `from..to` by their byte at `depth`.
    fn groups(&self, from: usize, to: usize, depth: usize) -> Vec<(usize, usize)> {
        let mut groups = Vec::new();
        let mut start = from;
        for at in from..to {
            if at + 1 == to || self.keys[at].0[depth] != self.keys[at + 1].0[depth] {
                groups.push((start, at + 1));
                start = at + 1;
            }
        }
        groups
    }

    fn add_children(
        &mut self,
        node: usize,
        children: &[(usize, usize)],
        depth: usize,
        pending: &mut Vec<(usize, usize, usize, usize)>,
    ) {
        let byte = |keys: &[(Vec<u8>, Fit, u32)], group: &(usize, usize)| keys[group.0].0[depth];
        let (Some(low), Some(high)) = (children.first(), children.last()) else { return };
        let (low, high) = (byte(&self.keys, low), byte(&self.keys, high));
        let (first, steps) = (self.nodes.len(), self.steps.len());
        self.steps.resize(steps + usize::from(high - low) + 1, 0);
        for (position, group) in children.iter().enumerate() {
            let step = byte(&self.keys, group) - low;
            self.steps[steps + usize::from(step)] = position as u16 + 1;
            self.nodes.push(Node::default());
            pending.push((first + position, group.0, group.1, depth + 1));
        }
        let node = &mut self.nodes[node];
        (node.first, node.steps, node.low) = (first as u32, steps as u32, low);
        node.span = u16::from(high - low) + 1;
        node.children = children.len() as u16;
    }

    /// Children stand after their parents, so one pass from the end settles the smallest value below each node.
    fn settle_least(&mut self) {
        for node in (0..self.nodes.len()).rev() {
            let Node { first, children, .. } = self.nodes[node];
            let below = self.nodes[first as usize..first as usize + usize::from(children)].iter();
            let below = below.map(|child| child.least).min().unwrap_or(u32::MAX);
            self.nodes[node].least = self.nodes[node].least.min(below);
        }
    }
}

#[cfg(test)]
mod tests;
