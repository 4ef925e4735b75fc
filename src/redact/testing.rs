//! Small kernels for the tests of walks: structures by a short description, symbols, and memory by address.

use super::walk::{Piece, Walk};
use crate::arch::Machine;
use crate::kernel::testing::Pieces;
use crate::kernel::testing::description::{Generation, Types, kallsyms};
use crate::kernel::{Error, Kernel};
use crate::mm::KernelRead;
use crate::units::{ByteOrder, PageSize, VirtAddr};
use crate::vmcore::VmcoreInfo;
use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::ops::Range;

/// Where the kernel's tables are.
const TYPES: u64 = 0xffff_ffff_8100_0000;
const SYMBOLS: u64 = 0xffff_ffff_8200_0000;
/// Where functions are, 16 bytes apart.
const TEXT: u64 = 0xffff_ffff_8000_0000;

/// A kernel in the making.
pub(super) struct Small {
    types: Types,
    ids: BTreeMap<String, u32>,
    symbols: Vec<(char, String, u64)>,
    pieces: Vec<(u64, Vec<u8>)>,
}

impl Small {
    pub(super) fn new() -> Small {
        let mut small =
            Small { types: Types::new(false), ids: BTreeMap::new(), symbols: Vec::new(), pieces: Vec::new() };
        for (name, size) in [("u8", 1), ("u16", 2), ("u32", 4), ("u64", 8)] {
            let id = small.types.int(name, size, false);
            small.ids.insert(name.into(), id);
        }
        // No module is loaded.
        small.st("list_head", 16, "next:u64@0 prev:u64@8");
        small.st("module", 64, "list:list_head@0 name:u8*16@16 state:u32@32");
        small.symbol("modules", 0xffff_ffff_8300_0000);
        small.list(0xffff_ffff_8300_0000, &[]);
        small.symbols.push(('T', "_stext".into(), TEXT));
        small.symbols.push(('T', "_etext".into(), TEXT + 0x10_0000));
        small
    }

    /// A type: a name, `*` and the name of what a pointer leads to, or a name, `*` and a count.
    fn id(&mut self, text: &str) -> u32 {
        if let Some(&id) = self.ids.get(text) {
            return id;
        }
        let id = match text.split_once('*') {
            Some(("", target)) => {
                let target = if target.is_empty() { 0 } else { self.id(target) };
                self.types.pointer(target)
            }
            Some((element, count)) => {
                let element = self.id(element);
                self.types.array(element, count.parse().unwrap())
            }
            None => panic!("no type {text}"),
        };
        self.ids.insert(text.into(), id);
        id
    }

    /// Adds a structure of so many bytes, its members as `name:type@offset`.
    pub(super) fn st(&mut self, name: &str, size: u32, members: &str) {
        let parsed: Vec<(String, u32, u32)> = members
            .split_whitespace()
            .map(|member| {
                let (member, rest) = member.split_once(':').unwrap();
                let (kind, at) = rest.split_once('@').unwrap();
                (member.to_owned(), self.id(kind), at.parse::<u32>().unwrap() * 8)
            })
            .collect();
        let members: Vec<_> = parsed.iter().map(|(name, id, at)| (name.as_str(), *id, *at, 0)).collect();
        let id = self.types.structure(name, size, &members);
        self.ids.insert(name.into(), id);
    }

    pub(super) fn enumeration(&mut self, values: &[(&str, i32)]) {
        self.types.enumeration("", values);
    }

    pub(super) fn symbol(&mut self, name: &str, at: u64) {
        self.symbols.push(('D', name.into(), at));
    }

    /// A function of the kernel's own: its address.
    pub(super) fn function(&mut self, name: &str) -> u64 {
        let at = TEXT + 16 * self.symbols.len() as u64;
        self.symbols.push(('T', name.into(), at));
        at
    }

    pub(super) fn put(&mut self, at: u64, bytes: &[u8]) {
        self.pieces.push((at, bytes.to_vec()));
    }

    /// Words at an address, one after the other.
    pub(super) fn words(&mut self, at: u64, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.put(at, &bytes);
    }

    /// Zeros, for what is not written otherwise.
    pub(super) fn zeros(&mut self, at: u64, len: usize) {
        self.pieces.insert(0, (at, vec![0; len]));
    }

    /// A list of nodes.
    pub(super) fn list(&mut self, head: u64, nodes: &[u64]) {
        let all: Vec<u64> = [head].iter().chain(nodes).copied().collect();
        for (nth, node) in all.iter().enumerate() {
            self.words(*node, &[all[(nth + 1) % all.len()], all[(nth + all.len() - 1) % all.len()]]);
        }
    }

    fn build(mut self) -> Pieces {
        let types = self.types.bytes();
        self.symbols.push(('D', "__start_BTF".into(), TYPES));
        self.symbols.push(('D', "__stop_BTF".into(), TYPES + types.len() as u64));
        let symbols: Vec<(char, &str, u64)> =
            self.symbols.iter().map(|(kind, name, at)| (*kind, name.as_str(), *at)).collect();
        let table = kallsyms(false, Generation::BaseRelative, SYMBOLS, &symbols);
        // What proves the meaning of the table of addresses.
        let proof = format!("SYMBOL(_stext)={TEXT:x}\nSYMBOL(modules)={:x}\n", 0xffff_ffff_8300_0000_u64);
        let mut memory = Pieces::new(ByteOrder::Little, &format!("{}{proof}", table.lines));
        memory.put(TYPES, types);
        // Names are read by the window, past the end of the table.
        memory.put(table.at, [table.bytes, vec![0; 1 << 17]].concat());
        for (at, bytes) in self.pieces {
            memory.put(at, bytes);
        }
        memory
    }

    /// What a walk finds, as address and bytes, in order of address; or why it stops. A dump that lacks pages of this memory
    /// stops the walk, or all is found that the dump has.
    pub(super) fn find(self, find: fn(&Walk<'_>) -> Result<(), Error>) -> Result<Places, String> {
        self.find_on(Machine::X86_64, find)
    }

    pub(super) fn find_on(
        self,
        machine: Machine,
        find: fn(&Walk<'_>) -> Result<(), Error>,
    ) -> Result<Places, String> {
        let pages =
            |(at, bytes): &(u64, Vec<u8>)| at & !4095..(at + bytes.len() as u64).next_multiple_of(4096);
        let gaps: Vec<Range<u64>> = self.pieces.iter().map(pages).collect();
        let memory = self.build();
        let found = places(&memory, machine, find)?;
        for gap in gaps {
            let lacking = Lacking { memory: &memory, gap: gap.clone() };
            let Ok(others) = places(&lacking, machine, find) else { continue };
            // What a dump lacks is not handed over.
            let is_lacking = |&(at, len): &(u64, u64)| gap.start <= at && at + len <= gap.end;
            let lost = found.iter().find(|place| !others.contains(place) && !is_lacking(place));
            assert_eq!(lost, None, "without {gap:#x?}");
        }
        Ok(found)
    }

    pub(super) fn walk<T>(self, machine: Machine, with: impl FnOnce(&Walk<'_>) -> T) -> T {
        let memory = self.build();
        let kernel = Kernel::new(&memory);
        with(&Walk::new(&kernel, machine, PageSize::K4))
    }
}

/// What was found: addresses and bytes.
type Places = Vec<(u64, u64)>;

fn places(
    memory: &dyn KernelRead,
    machine: Machine,
    find: fn(&Walk<'_>) -> Result<(), Error>,
) -> Result<Places, String> {
    let kernel = Kernel::new(memory);
    let walk = Walk::new(&kernel, machine, PageSize::K4);
    find(&walk).map_err(|error| error.line())?;
    let mut found: Places =
        walk.take().into_iter().map(|Piece { at: VirtAddr(at), len, .. }| (at, len)).collect();
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// Memory of which a dump lacks some pages.
struct Lacking<'a> {
    memory: &'a Pieces,
    gap: Range<u64>,
}

impl KernelRead for Lacking<'_> {
    fn info(&self) -> &VmcoreInfo {
        self.memory.info()
    }

    fn byte_order(&self) -> ByteOrder {
        self.memory.byte_order()
    }

    fn read(&self, at: VirtAddr, buf: &mut [u8]) -> Result<(), Box<dyn StdError + Send + Sync>> {
        if at.0 < self.gap.end && self.gap.start < at.0 + buf.len() as u64 {
            return Err("left out".into());
        }
        self.memory.read(at, buf)
    }
}

/// Where tests place things in memory.
pub(super) const A: u64 = 0xffff_ffff_9010_0000;
pub(super) const B: u64 = 0xffff_ffff_9020_0000;
pub(super) const C: u64 = 0xffff_ffff_9030_0000;
pub(super) const D: u64 = 0xffff_ffff_9040_0000;
pub(super) const E: u64 = 0xffff_ffff_9050_0000;
pub(super) const F: u64 = 0xffff_ffff_9060_0000;

/// Structures of ciphers, and one algorithm at `F` with a context of 32 bytes.
pub(super) fn with_ciphers(small: &mut Small) {
    small.st("crypto_alg", 64, "cra_list:list_head@0 cra_ctxsize:u32@24 cra_alignmask:u32@28");
    small.st("crypto_tfm", 40, "crt_flags:u32@4 exit:u64@16 __crt_alg:*crypto_alg@24 __crt_ctx:u64*0@40");
    small.st("crypto_skcipher", 64, "reqsize:u32@0 base:crypto_tfm@16");
    small.symbol("crypto_alg_list", F + 0x800);
    small.zeros(F, 64);
    small.list(F + 0x800, &[F]);
    small.put(F + 24, &32_u32.to_le_bytes());
}

/// A cipher at an address, its context 56 bytes after it.
pub(super) fn cipher(small: &mut Small, at: u64) {
    small.zeros(at, 128);
    small.words(at + 16 + 24, &[F]);
}
