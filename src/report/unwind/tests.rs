//! Stacks made here, one architecture after the other: calls, an interrupt, a task that sleeps, a broken chain.

use super::*;
use crate::kernel::testing::Pieces;
use crate::kernel::testing::description::{Generation, Types, kallsyms};
use crate::units::ByteOrder;

const TEXT: u64 = 0xffff_ffff_8100_0000;
const TABLE: u64 = 0xffff_ffff_8200_0000;
const BTF: u64 = 0xffff_ffff_8300_0000;
const STACK: u64 = 0xffff_ffff_a000_0000;
/// The stack of ppc64le, whose kernel stacks are in the linear map.
const PPC_STACK: u64 = 0xc000_0000_0010_0000;
const TASK: u64 = 0xffff_ffff_b000_0000;
/// Functions are 256 bytes long.
const NAMES: [&str; 6] = ["_stext", "one", "two", "three", "entry", "_etext"];

/// A place in a function.
fn at(name: &str, offset: u64) -> u64 {
    let nth = NAMES.iter().position(|other| *other == name).unwrap() as u64;
    TEXT + nth * 0x100 + offset
}

/// A kernel with these functions and types, further symbols, and memory for stacks.
struct World {
    memory: Pieces,
    machine: Machine,
    stack: Vec<u8>,
    start: u64,
    order: ByteOrder,
}

impl World {
    fn new(machine: Machine, types: &Types, more: &[(char, &str, u64)], lines: &str) -> World {
        let big = machine == Machine::S390x;
        let order = if big { ByteOrder::Big } else { ByteOrder::Little };
        let bytes = types.bytes();
        let mut symbols: Vec<(char, &str, u64)> =
            NAMES.iter().map(|name| ('T', *name, at(name, 0))).collect();
        symbols.extend([('D', "__start_BTF", BTF), ('D', "__stop_BTF", BTF + bytes.len() as u64)]);
        symbols.extend(more);
        let table = kallsyms(big, Generation::PlaceRelative, TABLE, &symbols);
        // The first of two lines of one key counts.
        let lines = format!("{lines}OSRELEASE=6.12.0\nSYMBOL(_stext)={TEXT:x}\n{}", table.lines);
        let mut memory = Pieces::new(order, &lines);
        let mut padded = table.bytes;
        padded.resize(padded.len().next_multiple_of(4096), 0);
        memory.put(TABLE, padded);
        memory.put(BTF, bytes);
        let start = if machine == Machine::Ppc64 { PPC_STACK } else { STACK };
        World { memory, machine, stack: vec![0; 4096], start, order }
    }

    /// Writes a word at an offset of the stack.
    fn word(&mut self, offset: usize, value: u64) {
        self.stack[offset..offset + 8].copy_from_slice(&self.order.u64_bytes(value));
    }

    fn registers(&self, values: &[(usize, u64)]) -> Registers {
        let mut bytes = vec![0; Registers::len(self.machine).unwrap()];
        for (place, value) in values {
            bytes[place * 8..place * 8 + 8].copy_from_slice(&self.order.u64_bytes(*value));
        }
        Registers::parse(self.machine, &bytes, self.order).unwrap()
    }

    /// What the walk from registers, or from the task at `TASK`, finds.
    fn unwind(&mut self, registers: Option<&[(usize, u64)]>) -> (Vec<(u64, bool)>, Option<String>) {
        self.memory.put(self.start, self.stack.clone());
        let registers = registers.map(|values| self.registers(values));
        let kernel = Kernel::new(&self.memory);
        assert_eq!(kernel.missing(), Vec::<String>::new());
        let unwinder = Unwinder::new(&kernel, self.machine, Limit::new(false));
        let steps = match &registers {
            Some(registers) => unwinder.unwind(Start::Registers(registers)),
            None => unwinder.unwind(Start::Sleeping(kernel.object("task_struct", VirtAddr(TASK)).unwrap())),
        };
        (steps.list.iter().map(|step| (step.address, step.exact)).collect(), steps.broken)
    }

    /// Puts the words of the sleeping task's `thread`.
    fn task(&mut self, words: &[u64]) {
        let bytes: Vec<u8> = words.iter().flat_map(|word| self.order.u64_bytes(*word)).collect();
        self.memory.put(TASK, bytes);
    }
}

/// Types with `task_struct.thread` of these members, each 8 bytes; further ones come from `more`.
fn types(big: bool, thread: &[&str], more: impl FnOnce(&mut Types, u32)) -> Types {
    let mut types = Types::new(big);
    let long = types.int("unsigned long", 8, false);
    let members: Vec<_> = thread.iter().zip(0..).map(|(name, nth)| (*name, long, nth * 64, 0)).collect();
    let size = u32::try_from(members.len() * 8).unwrap();
    let thread = types.structure("thread_struct", size, &members);
    types.structure("task_struct", size, &[("thread", thread, 0, 0)]);
    more(&mut types, long);
    types
}

#[test]
fn riscv64_follows_the_chain_through_an_exception() {
    let types = types(false, &["ra", "s"], |_, _| ());
    let more = [('T', "handle_exception", at("entry", 0x10))];
    let mut world = World::new(Machine::Riscv64, &types, &more, "");
    // The record of the interrupted kernel code, then the registers above the entry's record.
    world.word(0x100 - 8, at("two", 8));
    world.word(0x100 - 16, STACK + 0x200);
    world.word(0x200 - 8, at("entry", 0x20));
    world.word(0x200 - 16, 0x1234);
    world.word(0x200, at("three", 4));
    world.word(0x200 + 8 * 8, STACK + 0x500);
    world.word(0x500 - 8, at("one", 0x30));
    world.word(0x500 - 16, 0);
    let expected = [
        (at("one", 4), true),
        (at("two", 8), false),
        (at("entry", 0x20), false),
        (at("three", 4), true),
        (at("one", 0x30), false),
    ];
    assert_eq!(world.unwind(Some(&[(0, at("one", 4)), (8, STACK + 0x100)])), (expected.to_vec(), None));
    world.task(&[at("two", 0x10), STACK + 0x500]);
    let expected = vec![(at("two", 0x10), false), (at("one", 0x30), false)];
    assert_eq!(world.unwind(None), (expected, None));
    // A program's address ends at once.
    assert_eq!(world.unwind(Some(&[(0, 0x1000)])), (vec![], None));
    // An address of before the kernel's own mapping ends the chain.
    world.word(0x500 - 16, 0x8004_8f28);
    assert_eq!(world.unwind(None).1, None);
}

#[test]
fn riscv64_stacks_of_new_tasks_end_where_they_began() {
    let more = [('T', "ret_from_fork", at("entry", 0x10))];
    let mut world = World::new(Machine::Riscv64, &types(false, &["ra", "s"], |_, _| ()), &more, "");
    world.word(0x100 - 8, at("entry", 0x20));
    world.word(0x100 - 16, at("one", 0));
    world.task(&[at("two", 0x10), STACK + 0x100]);
    let expected = vec![(at("two", 0x10), false), (at("entry", 0x20), false)];
    assert_eq!(world.unwind(None), (expected, None));
}

#[test]
fn riscv64_leaf_functions_have_their_caller_in_a_register() {
    let mut world = World::new(Machine::Riscv64, &types(false, &["ra"], |_, _| ()), &[], "");
    world.word(0x100 - 8, STACK + 0x300);
    world.word(0x300 - 8, at("three", 8));
    let registers = [(0, at("one", 4)), (1, at("two", 8)), (8, STACK + 0x100)];
    let expected = vec![(at("one", 4), true), (at("two", 8), false), (at("three", 8), false)];
    assert_eq!(world.unwind(Some(&registers)), (expected, None));
}

#[test]
fn s390x_follows_the_back_chain_through_an_interrupt() {
    let mut world = World::new(Machine::S390x, &types(true, &["ksp"], |_, _| ()), &[], "");
    world.word(0x100 + 152, STACK + 0x200);
    world.word(0x200 + 136, at("two", 8));
    // No chain: registers at 160, the status word after one more word.
    world.word(0x200 + 160 + 16, at("three", 4));
    world.word(0x200 + 160 + 8 + 16 + 15 * 8, STACK + 0x400);
    world.word(0x400 + 152, STACK + 0x600);
    world.word(0x600 + 136, at("one", 8));
    // Registers of a program end the stack.
    world.word(0x600 + 160 + 8, 1 << 48);
    world.word(0x600 + 160 + 16, 0x1000);
    let registers = [(1, at("one", 4)), (17, STACK + 0x100)];
    let expected =
        vec![(at("one", 4), true), (at("two", 8), false), (at("three", 4), true), (at("one", 8), false)];
    assert_eq!(world.unwind(Some(&registers)), (expected, None));
    world.task(&[STACK + 0x700]);
    world.word(0x700 + 136, at("two", 0x20));
    world.word(0x700 + 144, STACK + 0x400);
    assert_eq!(world.unwind(None), (vec![(at("two", 0x20), false), (at("one", 8), false)], None));
}

#[test]
fn ppc64le_follows_the_back_chain_through_an_interrupt() {
    let pt_regs = |types: &mut Types, _| {
        types.structure("pt_regs", 44 * 8, &[]);
    };
    for (release, marker, registers) in [("6.12.0", 32, 48), ("6.1.0", 96, 112)] {
        let lines = format!("OSRELEASE={release}\n");
        let mut world = World::new(Machine::Ppc64, &types(false, &["ksp"], pt_regs), &[], &lines);
        world.word(0x100, PPC_STACK + 0x200);
        world.word(0x200 + 16, at("two", 8));
        world.word(0x200 + marker, 0x7265_6773);
        world.word(0x200 + registers + 32 * 8, at("three", 4));
        world.word(0x200 + registers + 8, PPC_STACK + 0x800);
        world.word(0x800, PPC_STACK + 0x900);
        world.word(0x900 + 16, at("one", 8));
        world.word(0x900, 0x7fff_0000_1000);
        let start = [(32, at("one", 4)), (1, PPC_STACK + 0x100), (36, at("entry", 8))];
        let mut expected = vec![(at("one", 4), true), (at("entry", 8), false)];
        // Since 6.5 the stack pointer belongs to the function itself.
        expected.truncate(if release == "6.1.0" { 2 } else { 1 });
        expected.extend([(at("two", 8), false), (at("three", 4), true), (at("one", 8), false)]);
        assert_eq!(world.unwind(Some(&start)), (expected, None), "{release}");
        world.task(&[PPC_STACK + 0xa00]);
        world.word(0xa00, PPC_STACK + 0x800);
        world.word(0x800 - 44 * 8 + 32 * 8, at("two", 0x20));
        let expected = vec![(at("two", 0x20), false), (at("one", 8), false)];
        assert_eq!(world.unwind(None), (expected, None), "{release}");
    }
}

fn aarch64_types(thread: &[&str]) -> Types {
    let mut types = Types::new(false);
    let long = types.int("unsigned long", 8, false);
    let context = types.structure("cpu_context", 16, &[("fp", long, 0, 0), ("pc", long, 64, 0)]);
    let thread_struct = types.structure("thread_struct", 16, &[(thread[0], context, 0, 0)]);
    types.structure("task_struct", 16, &[("thread", thread_struct, 0, 0)]);
    types.structure("pt_regs", 0x150, &[("stackframe", long, 0x130 * 8, 0)]);
    types
}

#[test]
fn aarch64_follows_records_through_exceptions_of_both_kinds() {
    let mask = 0x007f_0000_0000_0000_u64;
    let lines = format!("NUMBER(KERNELPACMASK)={mask:#x}\n");
    for old in [false, true] {
        let mut world = World::new(Machine::Aarch64, &aarch64_types(&["cpu_context"]), &[], &lines);
        world.word(0x100, STACK + 0x300 + 0x130);
        // A signed return address: its bits above are not all set.
        world.word(0x108, at("two", 8) & !mask);
        let record = 0x300 + 0x130;
        let (next, link, kind) = if old { (STACK + 0x600, at("three", 4), 0) } else { (0, 0, 2) };
        world.word(record, next);
        world.word(record + 8, link);
        world.word(record + 16, kind);
        world.word(0x300 + 32 * 8, at("three", 4));
        world.word(0x300 + 29 * 8, STACK + 0x600);
        // Left over from a call in the function itself.
        world.word(0x300 + 30 * 8, at("three", 0));
        world.word(0x300 + 33 * 8, 5);
        world.word(0x600, STACK + 0x700);
        world.word(0x608, at("one", 0x30));
        world.word(0x710, if old { 0 } else { 1 });
        let registers = [(32, at("one", 4)), (29, STACK + 0x100), (30, at("entry", 8)), (33, 5)];
        let expected = vec![
            (at("one", 4), true),
            (at("entry", 8), false),
            (at("two", 8), false),
            (at("three", 4), true),
            (at("one", 0x30), false),
        ];
        let (mut found, broken) = world.unwind(Some(&registers));
        // x30 at the start of the function is a call at the end of the one before, so another function.
        found.retain(|step| *step != (at("three", 0), false));
        assert_eq!((found, broken), (expected, None), "old {old}");
        world.task(&[STACK + 0x600, at("two", 0x10)]);
        assert_eq!(world.unwind(None), (vec![(at("two", 0x10), false), (at("one", 0x30), false)], None));
        assert_eq!(world.unwind(Some(&[(32, 0x1000), (33, 0)])), (vec![], None), "EL0");
    }
}

/// Numbers of registers and types of a format of ORC: none, previous sp, bp, sp; undefined, end, call, regs.
struct Orc {
    header: Option<[u8; 4]>,
    registers: [u8; 4],
    kinds: [u8; 4],
    signal: bool,
    end: bool,
}

const FORMATS: [Orc; 4] = [
    Orc { header: None, registers: [0, 1, 4, 5], kinds: [0, 0, 0, 1], signal: false, end: true },
    Orc {
        header: Some([0xdb, 0x84, 0xae, 0xd4]),
        registers: [0, 1, 4, 5],
        kinds: [0, 0, 0, 1],
        signal: true,
        end: true,
    },
    Orc {
        header: Some([0xfe, 0x5d, 0x32, 0xbf]),
        registers: [0, 1, 4, 5],
        kinds: [0, 1, 2, 3],
        signal: true,
        end: false,
    },
    Orc {
        header: Some([0x13, 0x7c, 0x36, 0xad]),
        registers: [0, 8, 4, 3],
        kinds: [0, 1, 2, 3],
        signal: true,
        end: false,
    },
];

impl Orc {
    /// An entry: offsets of sp and bp, their registers, the type; whether the caller was interrupted, whether it is the end.
    fn entry(&self, sp: (u8, i16), bp: (u8, i16), kind: u8, signal: bool, end: bool) -> Vec<u8> {
        let mut bytes = sp.1.to_le_bytes().to_vec();
        bytes.extend(bp.1.to_le_bytes());
        let flags = match (self.signal, self.end) {
            (false, _) => u8::from(end) << 2,
            (true, true) => u8::from(signal) << 2 | u8::from(end) << 3,
            (true, false) => u8::from(signal) << 3,
        };
        bytes.extend([sp.0 | bp.0 << 4, kind | flags]);
        bytes
    }

    fn types(&self) -> Types {
        types(false, &["sp"], |types, long| {
            let short = types.int("short", 2, true);
            let bits = types.int("unsigned int", 4, false);
            let wide = if self.signal && !self.end { 3 } else { 2 };
            let mut members = vec![
                ("sp_offset", short, 0, 0),
                ("bp_offset", short, 16, 0),
                ("sp_reg", bits, 32, 4),
                ("bp_reg", bits, 36, 4),
                ("type", bits, 40, wide),
            ];
            let flags = [("signal", self.signal), ("end", self.end)];
            let flags = flags.into_iter().filter(|(_, there)| *there).map(|(name, _)| name);
            members.extend(flags.zip(40 + wide..).map(|(name, place)| (name, bits, place, 1)));
            types.structure("orc_entry", 6, &members);
            types.structure("inactive_task_frame", 16, &[("bp", long, 0, 0), ("ret_addr", long, 64, 0)]);
        })
    }

    fn world(&self) -> World {
        let [none, previous, bp, sp] = self.registers;
        let [undefined, end, call, regs] = self.kinds;
        let entries = [
            self.entry((none, 0), (none, 0), undefined, false, false),
            self.entry((sp, 16), (previous, -16), call, false, false),
            self.entry((bp, 16), (bp, 0), call, false, false),
            self.entry((none, 0), (none, 0), end, false, true),
            self.entry((sp, 0), (none, 0), regs, true, false),
        ];
        let (ips, table, header) = (BTF + 0x10_0000, BTF + 0x11_0000, BTF + 0x12_0000);
        let mut more = vec![
            ('D', "__start_orc_unwind_ip", ips),
            ('D', "__stop_orc_unwind_ip", ips + 20),
            ('D', "__start_orc_unwind", table),
            ('T', "ret_from_fork", at("entry", 0x80)),
        ];
        more.extend(self.header.map(|_| ('D', "orc_header", header)));
        let mut world = World::new(Machine::X86_64, &self.types(), &more, "");
        let starts = (0_u64..5).map(|nth| TEXT + nth * 0x100);
        let ip = |(start, nth): (u64, u64)| {
            u32::try_from(start.wrapping_sub(ips + 4 * nth) & 0xffff_ffff).unwrap()
        };
        world.memory.put(ips, starts.zip(0..).flat_map(|pair| ip(pair).to_le_bytes()).collect::<Vec<_>>());
        world.memory.put(table, entries.concat());
        world.memory.put(header, self.header.unwrap_or_default());
        // The caller of _stext, which has no entry: one calls it.
        let distance = (TEXT.wrapping_sub(at("one", 0x20)) & 0xffff_ffff).to_le_bytes();
        world.memory.put(at("one", 0x1b), [&[0xe8][..], &distance[..4]].concat());
        world
    }
}

#[test]
fn x86_64_follows_every_format_of_the_tables() {
    for (format, orc) in FORMATS.iter().enumerate() {
        let mut world = orc.world();
        // Nothing describes _stext, so its caller is proved: the second word on the stack.
        world.word(0x100, at("two", 0x33));
        world.word(0x108, at("one", 0x20));
        // one: 16 bytes, rbp first. two: by rbp.
        world.word(0x110, STACK + 0x200);
        world.word(0x118, at("two", 0x40));
        world.word(0x200, STACK + 0x300);
        world.word(0x208, at("entry", 0x10));
        // entry: all registers, of three, which is the end.
        world.word(0x210 + 16 * 8, at("three", 4));
        world.word(0x210 + 19 * 8, STACK + 0x400);
        world.word(0x210 + 17 * 8, 0x10);
        let registers = [(16, at("_stext", 0x50)), (19, STACK + 0x100), (17, 0x10)];
        let expected = vec![
            (at("_stext", 0x50), true),
            (at("one", 0x20), false),
            (at("two", 0x40), false),
            (at("entry", 0x10), false),
            (at("three", 4), true),
        ];
        assert_eq!(world.unwind(Some(&registers)), (expected, None), "format {format}");
        // A program was interrupted.
        world.word(0x210 + 17 * 8, 0x33);
        assert_eq!(world.unwind(Some(&registers)).0.len(), 4, "format {format}");
        assert_eq!(world.unwind(Some(&[(17, 0x33)])), (vec![], None));
        world.task(&[STACK + 0x600]);
        world.word(0x600, STACK + 0x200);
        world.word(0x608, at("two", 0x60));
        let (found, broken) = world.unwind(None);
        assert_eq!(
            (found[0], found[1], broken),
            ((at("two", 0x60), false), (at("entry", 0x10), false), None)
        );
        // A task that never ran returns to the start of a function.
        world.word(0x608, at("entry", 0x80));
        assert_eq!(world.unwind(None).0[0], (at("entry", 0x80), true), "format {format}");
    }
}

#[test]
fn x86_64_tables_of_a_later_kind_are_not_guessed() {
    let orc = Orc { header: Some([1, 2, 3, 4]), ..FORMATS[3] };
    let (found, broken) = orc.world().unwind(Some(&[(16, at("one", 4)), (19, STACK), (17, 0x10)]));
    assert_eq!(found, [(at("one", 4), true)]);
    assert!(broken.unwrap().contains("unknown to this program"));
}

#[test]
fn stacks_that_are_broken_end_with_the_reason() {
    let mut world = World::new(Machine::Riscv64, &types(false, &["ra"], |_, _| ()), &[], "");
    // A record that leads to itself.
    world.word(0x100 - 8, at("two", 8));
    world.word(0x100 - 16, STACK + 0x100);
    let start = [(0, at("one", 4)), (8, STACK + 0x100)];
    let (found, broken) = world.unwind(Some(&start));
    assert_eq!((found.len(), broken.unwrap().as_str()), (MAX_STEPS, "it has more than 100 functions"));
    world.word(0x100 - 8, 0xffff_ffff_0000_0000);
    let (found, broken) = world.unwind(Some(&start));
    assert_eq!(
        (found.len(), broken.unwrap().as_str()),
        (1, "0xffffffff00000000 is not in the kernel's code")
    );
    let (found, broken) = world.unwind(Some(&[(0, at("one", 4)), (8, 0xffff_ffff_f000_0000)]));
    assert!(found.len() == 1 && broken.unwrap().starts_with("reading a stack at 0xffffffffeffffff8"));
}
