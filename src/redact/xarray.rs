//! The kernel's sparse arrays of pointers.
//!
//! Source: Linux `include/linux/xarray.h`, `struct xarray`, `struct xa_node`; `xa_is_node`.

use super::walk::Walk;
use crate::kernel::Error;
use crate::units::VirtAddr;

/// The deepest array: 6 bits of an index of 64 in each node; smaller nodes are as many bits lower.
const MAX_DEPTH: u32 = 22;
/// Entries up to this are marks of the array's own, and errors.
const MAX_MARK: u64 = 4096;

/// The pointers of an array, given by its `xa_head`. An array of numbers is none of pointers.
pub(super) fn pointers(
    walk: &Walk<'_>,
    head: u64,
    most: usize,
    what: &'static str,
) -> Result<Vec<VirtAddr>, Error> {
    let mut found = Vec::new();
    add(walk, head, &mut found, (most, what), MAX_DEPTH)?;
    Ok(found)
}

fn add(
    walk: &Walk<'_>,
    entry: u64,
    found: &mut Vec<VirtAddr>,
    (most, what): (usize, &'static str),
    depth: u32,
) -> Result<(), Error> {
    match entry & 3 {
        0 if entry == 0 => {}
        0 if found.len() < most => found.push(VirtAddr(entry)),
        2 if entry <= MAX_MARK => {}
        2 if depth > 0 => {
            let node = walk.kernel().object("xa_node", VirtAddr(entry - 2))?;
            let slots = node.address_of("slots")?;
            for nth in 0..node.size_of("slots")? / 8 {
                let entry = walk.pointer(slots, nth, what)?.0;
                add(walk, entry, found, (most, what), depth - 1)?;
            }
        }
        0 | 2 => return Err(Error::Endless(what)),
        _ => return Err(Error::Unknown(format!("the {what} have numbers where pointers should be"))),
    }
    Ok(())
}
