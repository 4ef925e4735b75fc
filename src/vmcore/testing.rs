//! Builds small vmcores for the unit tests of this and the rooms above.

use super::Vmcore;
use crate::units::ByteOrder;

/// Position of the program headers, when the test does not choose one.
const PHOFF: usize = 64;
const PHDR: usize = 56;

/// A vmcore in the making.
#[derive(Clone)]
pub(crate) struct CoreBuilder {
    order: ByteOrder,
    machine: u16,
    phoff: usize,
    notes: Vec<u8>,
    loads: Vec<Load>,
}

#[derive(Clone)]
struct Load {
    vaddr: u64,
    paddr: u64,
    data: Vec<u8>,
    mem_size: u64,
    /// Offset and size to claim in place of the true ones.
    claim: Option<(u64, u64)>,
}

/// A little-endian note.
pub(crate) fn note(name: &str, kind: u32, desc: &[u8]) -> Vec<u8> {
    encode_note(ByteOrder::Little, name, kind, desc)
}

fn encode_note(order: ByteOrder, name: &str, kind: u32, desc: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [name.len() + 1, desc.len()] {
        bytes.extend(order.u32_bytes(u32::try_from(word).unwrap()));
    }
    bytes.extend(order.u32_bytes(kind));
    bytes.extend(name.as_bytes());
    bytes.push(0);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes.extend(desc);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

impl CoreBuilder {
    pub(crate) fn new() -> CoreBuilder {
        CoreBuilder {
            order: ByteOrder::Little,
            machine: 62,
            phoff: PHOFF,
            notes: Vec::new(),
            loads: Vec::new(),
        }
    }

    pub(crate) fn big_endian() -> CoreBuilder {
        CoreBuilder { order: ByteOrder::Big, ..CoreBuilder::new() }
    }

    pub(crate) fn machine(mut self, machine: u16) -> CoreBuilder {
        self.machine = machine;
        self
    }

    pub(crate) fn phoff(mut self, phoff: usize) -> CoreBuilder {
        self.phoff = phoff;
        self
    }

    pub(crate) fn vmcoreinfo(mut self, text: &str) -> CoreBuilder {
        self.notes.extend(encode_note(self.order, "VMCOREINFO", 0, text.as_bytes()));
        self
    }

    pub(crate) fn load(self, paddr: u64, data: Vec<u8>) -> CoreBuilder {
        let mem_size = data.len() as u64;
        self.load_sized(paddr, data, mem_size)
    }

    pub(crate) fn load_sized(mut self, paddr: u64, data: Vec<u8>, mem_size: u64) -> CoreBuilder {
        self.loads.push(Load { vaddr: 0, paddr, data, mem_size, claim: None });
        self
    }

    /// A segment with a virtual address.
    pub(crate) fn load_at(mut self, vaddr: u64, paddr: u64, data: Vec<u8>) -> CoreBuilder {
        let mem_size = data.len() as u64;
        self.loads.push(Load { vaddr, paddr, data, mem_size, claim: None });
        self
    }

    /// A program header that lies.
    pub(crate) fn load_header(
        mut self,
        paddr: u64,
        offset: u64,
        file_size: u64,
        mem_size: u64,
    ) -> CoreBuilder {
        self.loads.push(Load {
            vaddr: 0,
            paddr,
            data: Vec::new(),
            mem_size,
            claim: Some((offset, file_size)),
        });
        self
    }

    pub(crate) fn build(&self) -> Vec<u8> {
        let mut file = self.header();
        let mut data_at = self.phoff + PHDR * (self.loads.len() + 1);
        file.resize(data_at, 0);
        let mut headers = self.program_header(4, (data_at as u64, self.notes.len() as u64), (0, 0), 0);
        file.extend(&self.notes);
        data_at += self.notes.len();
        for load in &self.loads {
            let place = load.claim.unwrap_or((data_at as u64, load.data.len() as u64));
            headers.extend(self.program_header(1, place, (load.vaddr, load.paddr), load.mem_size));
            file.extend(&load.data);
            data_at += load.data.len();
        }
        file[self.phoff..self.phoff + headers.len()].copy_from_slice(&headers);
        file
    }

    fn header(&self) -> Vec<u8> {
        let order = self.order;
        let mut h = b"\x7fELF\x02".to_vec();
        h.extend([if order == ByteOrder::Big { 2 } else { 1 }, 1]);
        h.resize(16, 0);
        h.extend(order.u16_bytes(4));
        h.extend(order.u16_bytes(self.machine));
        h.extend(order.u32_bytes(1));
        for word in [0, self.phoff as u64, 0] {
            h.extend(order.u64_bytes(word));
        }
        h.extend(order.u32_bytes(0));
        let count = u16::try_from(self.loads.len() + 1).unwrap();
        for half in [64, 56, count, 64, 0, 0] {
            h.extend(order.u16_bytes(half));
        }
        h
    }

    fn program_header(&self, kind: u32, place: (u64, u64), at: (u64, u64), mem_size: u64) -> Vec<u8> {
        let order = self.order;
        let mut h = order.u32_bytes(kind).to_vec();
        h.extend(order.u32_bytes(7));
        for word in [place.0, at.0, at.1, place.1, mem_size, 0] {
            h.extend(order.u64_bytes(word));
        }
        h
    }
}

/// Physical memory from address 0 on, in the making.
pub(crate) struct Image {
    order: ByteOrder,
    bytes: Vec<u8>,
}

impl Image {
    pub(crate) fn new(order: ByteOrder, size: usize) -> Image {
        Image { order, bytes: vec![0; size] }
    }

    pub(crate) fn put(&mut self, paddr: u64, bytes: &[u8]) {
        let at = usize::try_from(paddr).unwrap();
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn put_u32(&mut self, paddr: u64, value: u32) {
        self.put(paddr, &self.order.u32_bytes(value));
    }

    pub(crate) fn put_u64(&mut self, paddr: u64, value: u64) {
        self.put(paddr, &self.order.u64_bytes(value));
    }

    /// The image as a vmcore of an `e_machine`, with these lines as VMCOREINFO.
    pub(crate) fn vmcore(&self, machine: u16, lines: &[&str]) -> Vmcore {
        let builder = CoreBuilder { order: self.order, ..CoreBuilder::new() }.machine(machine);
        let text = lines.iter().fold(String::new(), |text, line| text + line + "\n");
        let file = builder.vmcoreinfo(&text).load(0, self.bytes.clone()).build();
        Vmcore::from_source(Box::new(file)).unwrap()
    }
}
