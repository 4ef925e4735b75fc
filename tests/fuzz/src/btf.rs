//! Types of a kernel and of a module: the first two bytes say how much of the input is the kernel's, bit 15 the byte
//! order.

use vmcore_encrypt::kernel::Btf;
use vmcore_encrypt::units::ByteOrder;

/// Runs the target.
pub fn run(bytes: &[u8]) {
    let Some((head, rest)) = bytes.split_first_chunk() else { return };
    let head = u16::from_le_bytes(*head);
    let order = if head >> 15 == 0 { ByteOrder::Little } else { ByteOrder::Big };
    let (base, split) = rest.split_at(rest.len().min(usize::from(head & 0x7fff)));
    let Ok(base) = Btf::parse(base, order) else { return };
    look(&base);
    if let Ok(split) = Btf::parse_split(split, &base) {
        look(&split);
    }
}

fn look(btf: &Btf<'_>) {
    for id in 0..btf.end_id().min(50) {
        let name = String::from_utf8_lossy(btf.name(id)).into_owned();
        let _ = (btf.shape(id), btf.size(id), btf.find_struct(&name), btf.enumerators(&name));
        for (name, _) in btf.members(id).into_iter().take(50) {
            let _ = btf.member(id, &String::from_utf8_lossy(name));
        }
    }
    let _ = (btf.enumerator("NR_FREE_PAGES"), btf.strings_len());
}
