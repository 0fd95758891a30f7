//! Bytes that shrink well: generators ask before each element, so cutting bytes cuts elements.

use proptest::prelude::Rng;
use proptest::strategy::{NewTree, Strategy};
use proptest::test_runner::TestRunner;
use tree::Tree;

#[path = "tree.rs"]
mod tree;

/// At most so many random bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bytes(pub(crate) usize);

impl Strategy for Bytes {
    type Tree = Tree;
    type Value = Vec<u8>;
    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let mut best = vec![0; self.0];
        runner.rng().fill_bytes(&mut best);
        best.truncate(runner.rng().next_u32() as usize % (self.0 + 1));
        Ok(Tree::of(best))
    }
}
