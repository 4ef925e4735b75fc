//! What a kernel keeps in its memory to describe itself, written from a short list: BTF, and kallsyms of every
//! generation. Uses nothing of the crate under test; unit tests, test programs and seeds of the fuzzer share it.
#![allow(dead_code, missing_docs, unreachable_pub, reason = "each user needs another part")]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a wrong description stops the test; numbers are the description's own"
)]

/// Integers in the byte order of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub big: bool,
}

impl Order {
    pub fn u16(self, value: u16) -> [u8; 2] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub fn u32(self, value: u32) -> [u8; 4] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub fn u64(self, value: u64) -> [u8; 8] {
        if self.big { value.to_be_bytes() } else { value.to_le_bytes() }
    }
}

/// A member of a structure: name, type, offset in bits, bits of a bit-field or 0.
pub type Member<'a> = (&'a str, u32, u32, u32);

/// Type information in the making.
#[derive(Clone)]
pub struct Types {
    order: Order,
    first_id: u32,
    first_string: u32,
    count: u32,
    records: Vec<u8>,
    strings: Vec<u8>,
    /// Bytes of the header: 32 where it describes the kinds, each by two numbers.
    pub layout: Vec<(u8, u8)>,
}

impl Types {
    pub fn new(big: bool) -> Types {
        Types {
            order: Order { big },
            first_id: 1,
            first_string: 0,
            count: 0,
            records: Vec::new(),
            strings: vec![0],
            layout: Vec::new(),
        }
    }

    /// Types that go on where these end.
    pub fn split(&self) -> Types {
        let (first_id, first_string) = (self.end_id(), self.first_string + self.strings.len() as u32);
        Types { first_id, first_string, ..Types::new(self.order.big) }
    }

    pub fn end_id(&self) -> u32 {
        self.first_id + self.count
    }

    pub fn strings_len(&self) -> u32 {
        self.first_string + self.strings.len() as u32
    }

    fn string(&mut self, text: &str) -> u32 {
        if text.is_empty() {
            return 0;
        }
        let at = self.first_string + self.strings.len() as u32;
        self.strings.extend(text.as_bytes());
        self.strings.push(0);
        at
    }

    /// Any type at all.
    pub fn raw(&mut self, name: &str, (kind, count, flag): (u32, u32, bool), word: u32, rest: &[u32]) -> u32 {
        let name = self.string(name);
        let info = u32::from(flag) << 31 | kind << 24 | count;
        for word in [name, info, word].iter().chain(rest) {
            self.records.extend(self.order.u32(*word));
        }
        self.count += 1;
        self.end_id() - 1
    }

    pub fn int(&mut self, name: &str, size: u32, signed: bool) -> u32 {
        self.raw(name, (1, 0, false), size, &[(u32::from(signed) << 24) | (size * 8)])
    }

    pub fn pointer(&mut self, to: u32) -> u32 {
        self.raw("", (2, 0, false), to, &[])
    }

    pub fn array(&mut self, of: u32, count: u32) -> u32 {
        self.raw("", (3, 0, false), 0, &[of, 0, count])
    }

    pub fn structure(&mut self, name: &str, size: u32, members: &[Member<'_>]) -> u32 {
        self.record(4, name, size, members)
    }

    pub fn union(&mut self, name: &str, size: u32, members: &[Member<'_>]) -> u32 {
        self.record(5, name, size, members)
    }

    fn record(&mut self, kind: u32, name: &str, size: u32, members: &[Member<'_>]) -> u32 {
        let flag = members.iter().any(|member| member.3 > 0);
        let mut rest = Vec::new();
        for &(name, id, bits, width) in members {
            rest.extend([self.string(name), id, width << 24 | bits]);
        }
        self.raw(name, (kind, members.len() as u32, flag), size, &rest)
    }

    pub fn enumeration(&mut self, name: &str, values: &[(&str, i32)]) -> u32 {
        let mut rest = Vec::new();
        for &(name, value) in values {
            rest.extend([self.string(name), value as u32]);
        }
        let signed = values.iter().any(|(_, value)| *value < 0);
        self.raw(name, (6, values.len() as u32, signed), 4, &rest)
    }

    pub fn typedef(&mut self, name: &str, of: u32) -> u32 {
        self.raw(name, (8, 0, false), of, &[])
    }

    pub fn constant(&mut self, of: u32) -> u32 {
        self.raw("", (10, 0, false), of, &[])
    }

    pub fn bytes(&self) -> Vec<u8> {
        let order = self.order;
        let header = if self.layout.is_empty() { 24 } else { 32 };
        let mut bytes = order.u16(0xeb9f).to_vec();
        bytes.extend([1, 0]);
        let (types, strings) = (self.records.len() as u32, self.strings.len() as u32);
        for word in [header, 0, types, types, strings] {
            bytes.extend(order.u32(word));
        }
        if header == 32 {
            bytes.extend(order.u32(types + strings));
            bytes.extend(order.u32(self.layout.len() as u32 * 4));
        }
        bytes.extend(&self.records);
        bytes.extend(&self.strings);
        for &(fixed, each) in &self.layout {
            bytes.extend([fixed, each, 0, 0]);
        }
        bytes
    }
}

/// How a generation of kernels keeps addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    Absolute,
    AbsolutePerCpu,
    BaseRelative,
    PlaceRelative,
}

/// A symbol table at an address, and the lines of VMCOREINFO that lead to it.
pub struct SymbolTable {
    pub at: u64,
    pub bytes: Vec<u8>,
    pub lines: String,
}

/// Tokens of more than one character, as a kernel's table has them; the others stand for themselves.
const TOKENS: [(u8, &str); 3] = [(0x80, "sys_"), (0x81, "Tdo_"), (0xff, "init")];

/// Compresses a name as the build of a kernel does, from left to right.
fn compress(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let token = TOKENS.iter().find(|(_, token)| rest.starts_with(token));
        let (byte, len) = token.map_or((char as u8, 1), |(byte, token)| (*byte, token.len()));
        bytes.push(byte);
        rest = &rest[len..];
    }
    bytes
}

/// Each name, compressed, after its length.
fn compressed(symbols: &[(char, &str, u64)]) -> Vec<Vec<u8>> {
    let one = |(kind, name, _): &(char, &str, u64)| {
        let tokens = compress(&format!("{kind}{name}"));
        let len = tokens.len();
        let head = if len < 128 { vec![len as u8] } else { vec![len as u8 | 0x80, (len >> 7) as u8] };
        [head, tokens].concat()
    };
    symbols.iter().map(one).collect()
}

fn token_texts() -> Vec<String> {
    let text = |byte: u8| {
        let token = TOKENS.iter().find(|(token, _)| *token == byte);
        let own = || if byte.is_ascii_graphic() { char::from(byte).to_string() } else { String::new() };
        token.map_or_else(own, |(_, text)| (*text).to_owned())
    };
    (0..=255).map(text).collect()
}

/// The tables in the order they had before v6.0, when nothing led to them: addresses, base, number, names, markers, tokens,
/// index.
pub fn old_kallsyms(big: bool, generation: Generation, symbols: &[(char, &str, u64)]) -> Vec<u8> {
    let order = Order { big };
    let base = symbols.iter().map(|(_, _, at)| *at).min().unwrap();
    let mut bytes = Vec::new();
    for (_, _, at) in symbols {
        bytes.extend(match generation {
            Generation::Absolute => order.u64(*at).to_vec(),
            Generation::AbsolutePerCpu => order.u32(base.wrapping_sub(1).wrapping_sub(*at) as u32).to_vec(),
            _ => order.u32((at - base) as u32).to_vec(),
        });
    }
    let align = |bytes: &mut Vec<u8>| bytes.resize(bytes.len().next_multiple_of(8), 0);
    align(&mut bytes);
    if generation != Generation::Absolute {
        bytes.extend(order.u64(base));
    }
    bytes.extend(order.u32(symbols.len() as u32));
    align(&mut bytes);
    let mut markers = Vec::new();
    let start = bytes.len();
    for (nth, name) in compressed(symbols).iter().enumerate() {
        if nth % 256 == 0 {
            markers.push((bytes.len() - start) as u32);
        }
        bytes.extend(name);
    }
    align(&mut bytes);
    bytes.extend(markers.iter().flat_map(|&marker| order.u32(marker)));
    align(&mut bytes);
    let mut at = 0_u16;
    let mut index = Vec::new();
    for text in token_texts() {
        index.extend(order.u16(at));
        at += text.len() as u16 + 1;
        bytes.extend(text.bytes().chain([0]));
    }
    align(&mut bytes);
    bytes.extend(index);
    bytes
}

/// The table of `symbols` (type, name, address), in their order, at `at`.
pub fn kallsyms(big: bool, generation: Generation, at: u64, symbols: &[(char, &str, u64)]) -> SymbolTable {
    let order = Order { big };
    let mut bytes = Vec::new();
    let mut lines = String::new();
    let mut place = |name: &str, bytes: &mut Vec<u8>| {
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        let address = at + bytes.len() as u64;
        lines += &format!("SYMBOL(kallsyms_{name})={address:x}\n");
        address
    };
    place("num_syms", &mut bytes);
    bytes.extend(order.u32(symbols.len() as u32));
    place("names", &mut bytes);
    bytes.extend(compressed(symbols).concat());
    let texts = token_texts();
    place("token_table", &mut bytes);
    let mut starts = Vec::new();
    let mut at_token = 0_u16;
    for text in &texts {
        starts.push(at_token);
        at_token += text.len() as u16 + 1;
        bytes.extend(text.bytes().chain([0]));
    }
    place("token_index", &mut bytes);
    bytes.extend(starts.iter().flat_map(|&start| order.u16(start)));
    let base = symbols.iter().map(|(_, _, at)| *at).filter(|at| *at > u64::from(u32::MAX)).min().unwrap();
    if matches!(generation, Generation::AbsolutePerCpu | Generation::BaseRelative) {
        place("relative_base", &mut bytes);
        bytes.extend(order.u64(base));
    }
    let name = if generation == Generation::Absolute { "addresses" } else { "offsets" };
    let table = place(name, &mut bytes);
    for ((_, _, address), nth) in symbols.iter().zip(0..) {
        let small = *address <= u64::from(u32::MAX);
        bytes.extend(match generation {
            Generation::Absolute => order.u64(*address).to_vec(),
            Generation::AbsolutePerCpu if small => order.u32(*address as u32).to_vec(),
            Generation::AbsolutePerCpu => {
                order.u32(base.wrapping_sub(1).wrapping_sub(*address) as u32).to_vec()
            }
            Generation::BaseRelative => order.u32(address.wrapping_sub(base) as u32).to_vec(),
            Generation::PlaceRelative => order.u32(address.wrapping_sub(table + 4 * nth) as u32).to_vec(),
        });
    }
    SymbolTable { at, bytes, lines }
}
