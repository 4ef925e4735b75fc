//! Our reader of type information against btf-rs: types made here in both byte orders, and those of the kernel that
//! runs the tests.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    missing_docs,
    reason = "a test program"
)]

#[path = "synth/description.rs"]
mod description;

use btf_rs::{BtfType, Type};
use description::Types;
use std::path::Path;
use vmcore_encrypt::kernel::Btf;
use vmcore_encrypt::kernel::btf::Shape;
use vmcore_encrypt::units::ByteOrder;

/// Every type has the same name, size, members and enumerators for both readers. How many were compared.
fn assert_same(ours: &Btf<'_>, theirs: &btf_rs::Btf, ids: std::ops::Range<u32>) -> usize {
    let mut compared = 0;
    for id in ids {
        let expected = theirs.resolve_type_by_id(id).unwrap();
        match &expected {
            Type::Struct(known) | Type::Union(known) => {
                assert_eq!(ours.name(id), theirs.resolve_name(known).unwrap_or_default().as_bytes());
                assert_eq!(ours.size(id), Some(known.size() as u64), "{id}");
                let members = ours.members(id);
                assert_eq!(members.len(), known.members.len(), "{id}");
                for ((name, member), known) in members.iter().zip(&known.members) {
                    assert_eq!(*name, theirs.resolve_name(known).unwrap_or_default().as_bytes(), "{id}");
                    let place = (known.bit_offset(), known.bitfield_size().unwrap_or(0));
                    assert_eq!((member.bits as u32, member.width), place, "{id}");
                    assert_eq!(Some(member.type_id), known.get_type_id(), "{id}");
                }
                compared += 1;
            }
            Type::Array(known) => {
                let Shape::Array(element, len) = ours.shape(id) else { panic!("{id}") };
                assert_eq!((Some(element), len as usize), (known.get_type_id(), known.len()), "{id}");
                compared += 1;
            }
            Type::Int(known) => {
                let signed = Shape::Signed(known.size() as u64);
                let expected = if known.is_signed() { signed } else { Shape::Scalar(known.size() as u64) };
                assert_eq!(ours.shape(id), expected, "{id}");
                compared += 1;
            }
            Type::Enum(known) => {
                for member in &known.members {
                    let name = theirs.resolve_name(member).unwrap();
                    let value = ours.enumerator(&name).unwrap();
                    // Two enumerations may share a name: the first counts.
                    assert!(value as u32 == member.val() || theirs_has(theirs, &name, value), "{name}");
                }
                compared += 1;
            }
            Type::Ptr(known) => {
                assert_eq!(Some(ours.shape(id)), known.get_type_id().map(Shape::Pointer), "{id}");
                compared += 1;
            }
            _ => {}
        }
    }
    compared
}

/// Whether some enumeration has this enumerator with this value.
fn theirs_has(theirs: &btf_rs::Btf, name: &str, value: i64) -> bool {
    let (first, last) = theirs.base().type_id_range();
    (first.max(1)..=last).any(|id| match theirs.resolve_type_by_id(id).unwrap() {
        Type::Enum(known) => known
            .members
            .iter()
            .any(|member| theirs.resolve_name(member).unwrap() == name && member.val() == value as u32),
        _ => false,
    })
}

fn machine(big: bool) -> Types {
    let mut types = Types::new(big);
    let int = types.int("int", 4, true);
    let long = types.int("unsigned long", 8, false);
    let pointer = types.pointer(int);
    let array = types.array(pointer, 7);
    let union = types.union("", 8, &[("low", int, 0, 0), ("all", long, 0, 0)]);
    let bits = types.structure("bits", 8, &[("a", int, 0, 3), ("b", int, 3, 29), ("c", int, 32, 0)]);
    types.structure("whole", 80, &[("u", union, 0, 0), ("", bits, 64, 0), ("list", array, 128, 0)]);
    types.enumeration("item", &[("FIRST", 0), ("SECOND", 7)]);
    types
}

#[test]
fn types_made_here_read_as_btf_rs_reads_them() {
    for big in [false, true] {
        let base = machine(big);
        let mut split = base.split();
        split.structure("module_own", 16, &[("inner", 1, 0, 0), ("more", 3, 64, 0)]);
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let (bytes, split) = (base.bytes(), split.bytes());
        let (ours, theirs) = (Btf::parse(&bytes, order).unwrap(), btf_rs::Btf::from_bytes(&bytes).unwrap());
        assert_eq!(assert_same(&ours, &theirs, 1..ours.end_id()), 8);
        let theirs = btf_rs::Btf::from_split_bytes(&split, &theirs).unwrap();
        let ours = Btf::parse_split(&split, &ours).unwrap();
        assert_eq!(assert_same(&ours, &theirs, base.end_id()..ours.end_id()), 1);
    }
}

#[test]
fn the_running_kernels_types_read_as_btf_rs_reads_them() {
    let path = Path::new("/sys/kernel/btf/vmlinux");
    let Ok(bytes) = std::fs::read(path) else {
        eprintln!("skipped: this kernel has no {}", path.display());
        return;
    };
    let order = if cfg!(target_endian = "big") { ByteOrder::Big } else { ByteOrder::Little };
    let (ours, theirs) = (Btf::parse(&bytes, order).unwrap(), btf_rs::Btf::from_bytes(&bytes).unwrap());
    // Every enumerator is looked for among all: a part of the types is enough.
    let end = ours.end_id();
    let compared =
        assert_same(&ours, &theirs, 1..end.min(3000)) + assert_same(&ours, &theirs, end - 500..end);
    assert!(compared > 1000, "{compared}");
    assert!(ours.find_struct("task_struct").is_some_and(|id| ours.size(id) > Some(1000)));
}
