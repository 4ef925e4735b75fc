//! VMCOREINFO: the lines of `KEY=VALUE` a kernel leaves for whoever reads its memory. Keys are looked up
//! by presence, never by kernel version: distributions backport them.
//!
//! Source: Linux `kernel/vmcore_info.c`, `Documentation/admin-guide/kdump/vmcoreinfo.rst`.

use crate::units::{PageSize, VirtAddr};
use std::collections::HashMap;

/// The kernel's own limit is one page of at most 64 KiB; more than this is not read.
const MAX_TEXT: usize = 1 << 20;

/// The parsed VMCOREINFO text.
#[derive(Clone, Debug, Default)]
pub struct VmcoreInfo {
    text: Vec<u8>,
    cut: bool,
    values: HashMap<String, String>,
}

impl VmcoreInfo {
    /// Parses the text of a VMCOREINFO note. Lines without `=` and a last line without `\n` (the text
    /// outgrew the kernel's buffer) are no values; of a key that comes twice the first counts.
    #[must_use]
    pub fn parse(text: &[u8]) -> VmcoreInfo {
        let text = &text[..text.len().min(MAX_TEXT)];
        let text = text.split(|&b| b == 0).next().unwrap_or_default();
        let mut values = HashMap::new();
        for line in text.split_inclusive(|&b| b == b'\n') {
            let Some(line) = line.strip_suffix(b"\n") else { break };
            let line = String::from_utf8_lossy(line);
            if let Some((key, value)) = line.split_once('=') {
                values.entry(key.to_owned()).or_insert_with(|| value.to_owned());
            }
        }
        let full = [4096, 16384, 65536].contains(&text.len());
        let cut = full || text.last().is_some_and(|&b| b != b'\n');
        VmcoreInfo { text: text.to_vec(), cut, values }
    }

    /// Whether the text outgrew the kernel's buffer, one page, so that keys at its end are missing: it fills a page
    /// or ends inside a line. Source: Linux `kernel/vmcore_info.c`, `vmcoreinfo_append_str`.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// The text as it was, up to the first NUL.
    #[must_use]
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// The value of a plain key such as `OSRELEASE`. It comes from a broken machine: escape before
    /// printing.
    #[must_use]
    pub fn string(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str)
    }

    /// A plain key whose value is hex without `0x`, such as `KERNELOFFSET`.
    #[must_use]
    pub fn hex(&self, key: &str) -> Option<u64> {
        u64::from_str_radix(self.string(key)?, 16).ok()
    }

    /// `SYMBOL(name)`: a run-time virtual address, KASLR included; 0 counts as absent.
    #[must_use]
    pub fn symbol(&self, name: &str) -> Option<VirtAddr> {
        self.hex(&format!("SYMBOL({name})")).filter(|&value| value != 0).map(VirtAddr)
    }

    /// Every `SYMBOL(name)` with its address, in no order.
    pub fn symbols(&self) -> impl Iterator<Item = (&str, VirtAddr)> {
        let names = self.values.keys().filter_map(|key| key.strip_prefix("SYMBOL(")?.strip_suffix(')'));
        names.filter_map(|name| Some((name, self.symbol(name)?)))
    }

    /// Major and minor version of `OSRELEASE`; `None` where it does not begin with two numbers.
    #[must_use]
    pub fn version(&self) -> Option<(u32, u32)> {
        let mut numbers = self.string("OSRELEASE")?.split('.').map(leading_number);
        Some((numbers.next()??, numbers.next()??))
    }

    /// `NUMBER(name)`: decimal, or hex with `0x`; values above `i64::MAX` wrap around.
    #[must_use]
    pub fn number(&self, name: &str) -> Option<i64> {
        parse_number(self.string(&format!("NUMBER({name})"))?)
    }

    /// `NUMBER(name)` as the 64 bits that an address or mask is.
    #[must_use]
    pub fn address(&self, name: &str) -> Option<u64> {
        self.number(name).map(i64::cast_unsigned)
    }

    /// `OFFSET(name)`: bytes from the start of a structure; a negative one counts as absent.
    #[must_use]
    pub fn offset(&self, name: &str) -> Option<u64> {
        self.unsigned("OFFSET", name)
    }

    /// `SIZE(name)`: bytes; a negative one counts as absent.
    #[must_use]
    pub fn size(&self, name: &str) -> Option<u64> {
        self.unsigned("SIZE", name)
    }

    /// `LENGTH(name)`: elements of an array; a negative one counts as absent.
    #[must_use]
    pub fn length(&self, name: &str) -> Option<u64> {
        self.unsigned("LENGTH", name)
    }

    /// `PAGESIZE`, when it is a page size.
    #[must_use]
    pub fn page_size(&self) -> Option<PageSize> {
        let bytes = parse_number(self.string("PAGESIZE")?)?;
        PageSize::from_bytes(u64::try_from(bytes).ok()?)
    }

    fn unsigned(&self, kind: &str, name: &str) -> Option<u64> {
        let value = parse_number(self.string(&format!("{kind}({name})"))?)?;
        u64::try_from(value).ok()
    }
}

fn leading_number(text: &str) -> Option<u32> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

fn parse_number(text: &str) -> Option<i64> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return Some(number);
    }
    let unsigned = match text.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).ok()?,
        None => text.parse::<u64>().ok()?,
    };
    Some(unsigned.cast_signed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_decimal_or_prefixed_hex() {
        let info = VmcoreInfo::parse(
            b"NUMBER(phys_base)=-239075328\nNUMBER(VMALLOC_START)=0xffffd37340000000\nNUMBER(bad)=12x\n",
        );
        assert_eq!(info.number("phys_base"), Some(-239_075_328));
        assert_eq!(info.address("VMALLOC_START"), Some(0xffff_d373_4000_0000));
        assert_eq!(info.number("bad"), None);
    }

    #[test]
    fn a_version_is_two_numbers_whatever_follows() {
        for (release, version) in [
            ("5.14.0-503.el9", Some((5, 14))),
            ("6.10-rc1", Some((6, 10))),
            ("10.1", Some((10, 1))),
            ("6", None),
            ("6.x", None),
            ("?", None),
            ("99999999999.1", None),
        ] {
            let info = VmcoreInfo::parse(format!("OSRELEASE={release}\n").as_bytes());
            assert_eq!(info.version(), version, "{release}");
        }
        assert_eq!(VmcoreInfo::parse(b"").version(), None);
    }

    #[test]
    fn symbols_are_bare_hex_and_0_is_absent() {
        let info = VmcoreInfo::parse(b"SYMBOL(a)=ffffffff92a10000\nSYMBOL(b)=0\nKERNELOFFSET=10000000\n");
        assert_eq!(info.symbol("a"), Some(VirtAddr(0xffff_ffff_92a1_0000)));
        assert_eq!((info.symbol("b"), info.symbol("c")), (None, None));
        assert_eq!(info.hex("KERNELOFFSET"), Some(0x1000_0000));
    }

    #[test]
    fn sizes_offsets_and_lengths_are_not_negative() {
        let info = VmcoreInfo::parse(b"SIZE(page)=64\nOFFSET(page.flags)=0\nLENGTH(x)=-1\n");
        assert_eq!(
            (info.size("page"), info.offset("page.flags"), info.length("x")),
            (Some(64), Some(0), None)
        );
    }

    #[test]
    fn the_first_of_two_counts_and_a_cut_line_does_not() {
        let info = VmcoreInfo::parse(b"A=1\nA=2\nCRASHTIME=17953");
        assert_eq!(info.string("A"), Some("1"));
        assert_eq!(info.string("CRASHTIME"), None);
        assert_eq!(VmcoreInfo::parse(b"A=1\n\0\0B=2\n").string("B"), None);
    }

    #[test]
    fn a_text_that_fills_its_page_or_ends_inside_a_line_is_cut() {
        for (text, cut) in [(&b""[..], false), (b"A=1\n", false), (b"A=1\n\0\0", false), (b"A=1\nB=", true)] {
            assert_eq!(VmcoreInfo::parse(text).is_cut(), cut);
        }
        let page = [b"A=1\n".repeat(1023), b"B=22".to_vec()].concat();
        assert!(VmcoreInfo::parse(&page).is_cut());
        assert!(VmcoreInfo::parse(&b"A=1\n".repeat(1024)).is_cut());
        assert!(!VmcoreInfo::parse(&b"A=1\n".repeat(1025)).is_cut());
    }

    #[test]
    fn page_size_must_be_one() {
        let of = |text: &[u8]| VmcoreInfo::parse(text).page_size().map(PageSize::bytes);
        assert_eq!(of(b"PAGESIZE=65536\n"), Some(65536));
        for bad in [&b"PAGESIZE=3\n"[..], b"PAGESIZE=-4096\n", b"PAGESIZE=99999999999999999999\n", b""] {
            assert_eq!(of(bad), None);
        }
    }
}
