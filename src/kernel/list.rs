//! The kernel's lists and trees, walked with limits: a dump may hold a list that runs into itself, or never ends.
//!
//! Source: Linux `include/linux/list.h` (`struct list_head`: next, prev), `include/linux/rbtree_types.h`
//! (`struct rb_node`: parent and colour, right, left).

use super::btf::{Btf, TypeId};
use super::{Error, Kernel, Object, Scope};
use crate::units::VirtAddr;
use std::collections::HashSet;

/// The nodes of a `struct list_head`, one after the other, without the head.
pub struct List<'k> {
    kernel: &'k Kernel<'k>,
    what: &'static str,
    head: VirtAddr,
    node: VirtAddr,
    /// The node remembered last: Brent's search for a cycle.
    passed: VirtAddr,
    count: u64,
    limit: u64,
    ended: bool,
}

impl Iterator for List<'_> {
    type Item = Result<VirtAddr, Error>;

    fn next(&mut self) -> Option<Result<VirtAddr, Error>> {
        if self.ended {
            return None;
        }
        let next = match self.kernel.u64(self.node, self.what) {
            Ok(next) => VirtAddr(next),
            Err(error) => return self.end_with(error),
        };
        if next == self.head {
            self.ended = true;
            return None;
        }
        self.count += 1;
        if next.0 == 0 || next == self.passed || self.count > self.limit {
            return self.end_with(Error::Endless(self.what));
        }
        if self.count.is_power_of_two() {
            self.passed = next;
        }
        self.node = next;
        Some(Ok(next))
    }
}

impl List<'_> {
    fn end_with(&mut self, error: Error) -> Option<Result<VirtAddr, Error>> {
        self.ended = true;
        Some(Err(error))
    }
}

/// Structures that are on lists by one of their members.
pub struct Linked<'k> {
    kernel: &'k Kernel<'k>,
    types: &'k Btf<'k>,
    type_id: TypeId,
    /// Where the member is, in bytes.
    offset: u64,
}

impl<'k> Linked<'k> {
    /// Those on the list at a head, at most `limit`. An error is the last item.
    pub fn on(
        &self,
        head: VirtAddr,
        limit: u64,
        what: &'static str,
    ) -> impl Iterator<Item = Result<Object<'k>, Error>> + use<'k> {
        let Linked { kernel, types, type_id, offset } = *self;
        let object = move |node| Linked { kernel, types, type_id, offset }.of(node);
        kernel.list(head, limit, what).map(move |node| node.map(object))
    }

    /// The structure that a node is in.
    #[must_use]
    pub fn of(&self, node: VirtAddr) -> Object<'k> {
        Object::new(self.kernel, self.types, VirtAddr(node.0.wrapping_sub(self.offset)), self.type_id)
    }
}

impl<'k> Scope<'k> {
    /// Structures that are on lists or trees by a member.
    ///
    /// # Errors
    ///
    /// As [`Scope::offset_of`].
    pub fn linked(&self, structure: &str, member: &str) -> Result<Linked<'k>, Error> {
        let (type_id, offset) = self.place_of(structure, member)?;
        Ok(Linked { kernel: self.kernel(), types: self.types(), type_id, offset })
    }
}

impl<'a> Kernel<'a> {
    /// Structures that are on lists by a member, a `struct list_head`.
    ///
    /// # Errors
    ///
    /// As [`Kernel::offset_of`].
    pub fn linked(&self, structure: &str, member: &str) -> Result<Linked<'_>, Error> {
        Scope::of(self)?.linked(structure, member)
    }

    /// Walks the list at a head, at most `limit` nodes. An error is the last item.
    #[must_use]
    pub fn list(&self, head: VirtAddr, limit: u64, what: &'static str) -> List<'_> {
        List { kernel: self, what, head, node: head, passed: head, count: 0, limit, ended: false }
    }

    /// All nodes of a list that is whole: each node's next leads back to it, and the last to the head. A list that a
    /// CPU was just changing is not.
    ///
    /// # Errors
    ///
    /// [`Error::Endless`] for any other list, [`Error::Read`].
    pub fn whole_list(&self, head: VirtAddr, limit: u64, what: &'static str) -> Result<Vec<VirtAddr>, Error> {
        let mut nodes = Vec::new();
        let mut before = head;
        let leads_back = |node: VirtAddr, before: VirtAddr| {
            let prev = self.u64(node.wrapping_add(8), what)?;
            if prev == before.0 { Ok(()) } else { Err(Error::Endless(what)) }
        };
        for node in self.list(head, limit, what) {
            let node = node?;
            leads_back(node, before)?;
            nodes.push(node);
            before = node;
        }
        leads_back(head, before)?;
        Ok(nodes)
    }

    /// The nodes of a `struct rb_root` in their order, at most `limit`, and what stopped the walk.
    #[must_use]
    pub fn tree(&self, root: VirtAddr, limit: usize, what: &'static str) -> (Vec<VirtAddr>, Option<Error>) {
        let mut nodes = Vec::new();
        let result = self.walk_tree(root, limit, what, &mut nodes);
        (nodes, result.err())
    }

    fn walk_tree(
        &self,
        root: VirtAddr,
        limit: usize,
        what: &'static str,
        nodes: &mut Vec<VirtAddr>,
    ) -> Result<(), Error> {
        let mut next = self.u64(root, what)?;
        let mut seen = HashSet::new();
        // Nodes whose left side is done or under way, with their right side.
        let mut open: Vec<(u64, u64)> = Vec::new();
        loop {
            while next != 0 {
                if !seen.insert(next) || seen.len() > limit {
                    return Err(Error::Endless(what));
                }
                let mut bytes = [0; 24];
                self.bytes(VirtAddr(next), &mut bytes, what)?;
                let order = self.memory().byte_order();
                let word = |at| order.u64_at(&bytes, at).unwrap_or(0);
                open.push((next, word(8)));
                next = word(16);
            }
            let Some((node, right)) = open.pop() else { return Ok(()) };
            nodes.push(VirtAddr(node));
            next = right;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Pieces;
    use super::*;
    use crate::units::ByteOrder;

    const HEAD: u64 = 0x1000;

    /// A list of these nodes after the head, the last leading to `end`.
    fn list(nodes: &[u64], end: u64) -> Pieces {
        let mut memory = Pieces::new(ByteOrder::Big, "");
        let all: Vec<u64> = [HEAD].iter().chain(nodes).copied().collect();
        for (at, node) in all.iter().enumerate() {
            memory.put_u64(*node, all.get(at + 1).copied().unwrap_or(end));
            memory.put_u64(node + 8, all[(at + all.len() - 1) % all.len()]);
        }
        memory
    }

    fn walk(memory: &Pieces, limit: u64) -> (Vec<u64>, Option<String>) {
        let kernel = Kernel::new(memory);
        let mut nodes = Vec::new();
        for node in kernel.list(VirtAddr(HEAD), limit, "list") {
            match node {
                Ok(node) => nodes.push(node.0),
                Err(error) => return (nodes, Some(error.line())),
            }
        }
        (nodes, None)
    }

    #[test]
    fn a_list_is_walked_to_its_head() {
        for nodes in [&[][..], &[0x2000], &[0x2000, 0x3000, 0x4000]] {
            let memory = list(nodes, HEAD);
            assert_eq!(walk(&memory, 10), (nodes.to_vec(), None));
            let whole = Kernel::new(&memory).whole_list(VirtAddr(HEAD), 10, "list").unwrap();
            assert_eq!(whole.iter().map(|node| node.0).collect::<Vec<_>>(), nodes);
        }
    }

    #[test]
    fn lists_that_do_not_end_do() {
        let endless = Some("the list is broken: it runs into itself or has no end".to_owned());
        assert_eq!(walk(&list(&[0x2000, 0x3000], 0x3000), 1 << 40).1, endless);
        assert_eq!(walk(&list(&[0x2000, 0x3000, 0x4000], 0x2000), 1 << 40).1, endless);
        assert_eq!(walk(&list(&[0x2000, 0x3000], HEAD), 1).1, endless);
        assert_eq!(walk(&list(&[0x2000], 0), 9).1, endless);
        let (nodes, error) = walk(&list(&[0x2000], 0x9000), 9);
        assert_eq!(nodes, [0x2000, 0x9000]);
        assert_eq!(error.unwrap(), "reading list at 0x9000: no memory at 0x9000");
    }

    #[test]
    fn a_list_that_does_not_lead_back_is_not_whole() {
        let mut memory = list(&[0x2000, 0x3000], HEAD);
        memory.put_u64(0x3008, HEAD);
        assert!(Kernel::new(&memory).whole_list(VirtAddr(HEAD), 10, "list").is_err());
        let mut memory = list(&[0x2000, 0x3000], HEAD);
        memory.put_u64(HEAD + 8, 0x2000);
        assert!(Kernel::new(&memory).whole_list(VirtAddr(HEAD), 10, "list").is_err());
    }

    #[test]
    fn trees_are_walked_in_order_and_cycles_end() {
        let mut memory = Pieces::new(ByteOrder::Little, "");
        let mut node = |at: u64, left: u64, right: u64| {
            memory.put_u64(at, 0);
            memory.put_u64(at + 8, right);
            memory.put_u64(at + 16, left);
        };
        node(0x2000, 0x3000, 0x4000);
        node(0x3000, 0, 0x5000);
        node(0x4000, 0, 0);
        node(0x5000, 0, 0);
        memory.put_u64(HEAD, 0x2000);
        let walk = |memory: &Pieces, limit| {
            let (nodes, error) = Kernel::new(memory).tree(VirtAddr(HEAD), limit, "tree");
            (nodes.iter().map(|node| node.0).collect::<Vec<_>>(), error.is_some())
        };
        assert_eq!(walk(&memory, 4), (vec![0x3000, 0x5000, 0x2000, 0x4000], false));
        assert!(walk(&memory, 3).1);
        memory.put_u64(0x5000 + 16, 0x2000);
        assert!(walk(&memory, 1 << 40).1);
    }
}
