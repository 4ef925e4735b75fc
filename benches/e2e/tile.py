#!/usr/bin/env python3
"""Makes the core of a machine with much memory out of a smaller one's: its memory several times, one tile after the other,
each with page structures of its own. The file holds the memory once, since segments of an ELF core may share their place in
it; page tables and memory sections of the further tiles are written into a hole of the file, which is free memory.

    tile.py CORE TIMES OUT

CORE: x86-64 with a virtual memory map, page tables of 4 or 5 levels, program headers right after the ELF header."""

import mmap
import os
import re
import struct
import sys

PAGE, SECTION, STRUCT = 4096, 128 << 20, 64
GIB = 1 << 30
ENTRY = struct.Struct("<Q")
PHDR = struct.Struct("<IIQQQQQQ")
ADDRESS, LARGE = 0x000F_FFFF_FFFF_F000, 0x80
ROOM = 64 << 10
# Pages of tables that are written: some 30 for each tile.
HOLE = 4 << 20


class Core:
    """A core file, mapped: memory by physical and by kernel virtual address."""

    def __init__(self, path):
        self.file = open(path, "r+b")
        self.map = mmap.mmap(self.file.fileno(), 0)
        (count,) = struct.unpack_from("<H", self.map, 56)
        headers = [PHDR.unpack_from(self.map, 64 + at * PHDR.size) for at in range(count)]
        # type, flags, offset, vaddr, paddr, filesz, memsz, align
        self.notes = [header for header in headers if header[0] == 4]
        self.loads = [header for header in headers if header[0] == 1]
        notes = b"".join(self.map[header[2] : header[2] + header[5]] for header in self.notes)
        text = notes[notes.rindex(b"OSRELEASE=") :].split(b"\0")[0].decode()
        self.info = dict(re.findall(r"^(\w+\([^)]*\)|\w+)=(\S+)$", text, re.M))

    def offset(self, paddr):
        for _, _, offset, _, start, size, _, _ in self.loads:
            if start <= paddr < start + size:
                return offset + paddr - start
        raise SystemExit(f"tile.py: error: no memory at {paddr:#x}")

    def word(self, paddr):
        return ENTRY.unpack_from(self.map, self.offset(paddr))[0]

    def put(self, paddr, value):
        ENTRY.pack_into(self.map, self.offset(paddr), value)

    def levels(self):
        """Bits of an address that each level of page tables takes: the shift of each."""
        return [48, 39, 30, 21, 12] if self.info.get("NUMBER(pgtable_l5_enabled)") == "1" else [39, 30, 21, 12]

    def root(self):
        symbol = int(self.info.get("SYMBOL(init_top_pgt)") or self.info["SYMBOL(swapper_pg_dir)"], 16)
        return symbol - 0xFFFF_FFFF_8000_0000 + int(self.info["NUMBER(phys_base)"])

    def walk(self, vaddr):
        """The entries on the way to an address: their places, from the top."""
        table, places = self.root(), []
        for shift in self.levels():
            places.append((shift, table + (vaddr >> shift & 511) * 8))
            entry = self.word(places[-1][1])
            if not entry & 1 or (entry & LARGE and shift < 39) or shift == 12:
                break
            table = entry & ADDRESS
        return places

    def translate(self, vaddr):
        shift, place = self.walk(vaddr)[-1]
        entry = self.word(place)
        if not entry & 1:
            return None
        return (entry & ADDRESS & -(1 << shift)) + (vaddr & ((1 << shift) - 1))


class Tiler:
    def __init__(self, core, stride):
        self.core, self.stride = core, stride
        self.free = self.hole()
        self.end = self.free + HOLE
        info = core.info
        self.sections, self.size = int(info["SYMBOL(mem_section)"], 16), int(info["SIZE(mem_section)"])
        self.per_root = PAGE // self.size
        first = core.word(core.translate(self.sections))
        self.linear = first - core.translate(first)
        self.vmemmap = self.entry(0) & ~0x3F

    def hole(self):
        """Physical memory, free and never touched: where the file has a hole."""
        for _, _, offset, _, paddr, size, _, _ in self.core.loads[::-1]:
            at = offset + size // 2
            while at < offset + size:
                start = os.lseek(self.core.file.fileno(), at, os.SEEK_HOLE)
                end = os.lseek(self.core.file.fileno(), start, os.SEEK_DATA)
                start = -(-(start - offset) // PAGE) * PAGE + offset
                if end - start >= HOLE:
                    return paddr + start - offset
                at = end
        raise SystemExit("tile.py: error: no hole in the memory")

    def page(self):
        if self.free >= self.end:
            raise SystemExit("tile.py: error: too many tables")
        self.free += PAGE
        return self.free - PAGE

    def entry(self, number):
        place = self.core.word(self.core.translate(self.sections + number // self.per_root * 8))
        return self.core.word(self.core.translate(place + number % self.per_root * self.size)) if place else 0

    def section(self, number, tile):
        """Enters a section of a further tile as the first one has it: the map's address and marks are alike in all."""
        to = number + self.stride // SECTION * tile
        root = self.core.translate(self.sections + to // self.per_root * 8)
        if not self.core.word(root):
            self.core.put(root, self.linear + self.page())
        there = self.core.word(root) + to % self.per_root * self.size
        place = self.core.word(self.core.translate(self.sections + number // self.per_root * 8))
        for at in range(0, self.size, 8):
            here = place + number % self.per_root * self.size + at
            self.core.put(self.core.translate(there + at), self.core.word(self.core.translate(here)))

    def table(self, vaddr, depth):
        """The place of the entry for an address at a depth; tables on the way there are made."""
        while True:
            places = self.core.walk(vaddr)
            if len(places) > depth:
                return places[depth][1]
            self.core.put(places[-1][1], self.page() | 0x67)

    def structures(self, number, tile):
        """Maps the structures of a further tile's section: the same bytes, in the tile's own memory."""
        first = self.vmemmap + number * (SECTION // PAGE) * STRUCT
        move, shift = self.stride * tile, self.stride // PAGE * STRUCT * tile
        vaddr, end = first, first + SECTION // PAGE * STRUCT
        while vaddr < end:
            places = self.core.walk(vaddr)
            size, place = 1 << places[-1][0], places[-1][1]
            entry = self.core.word(place)
            if entry & 1:
                self.core.put(self.table(vaddr + shift, len(places) - 1), entry + move)
            vaddr = (vaddr // size + 1) * size


def write_head(core, times, stride):
    """Segments of all tiles at the file's places of the first one's. The notes follow them."""
    moved = [(load, tile * stride) for tile in range(times) for load in core.loads]
    loads = [(*load[:3], load[3] + move, load[4] + move, *load[5:]) for load, move in moved]
    notes = [core.map[note[2] : note[2] + note[5]] for note in core.notes]
    at = 64 + (len(notes) + len(loads)) * PHDR.size
    headers = []
    for note, content in zip(core.notes, notes):
        headers.append((*note[:2], at, *note[3:]))
        core.map[at : at + len(content)] = content
        at += -(-len(content) // 8) * 8
    if at > core.loads[0][2]:
        sys.exit("tile.py: error: no room for the program headers")
    for number, header in enumerate(headers + loads):
        PHDR.pack_into(core.map, 64 + number * PHDR.size, *header)
    struct.pack_into("<H", core.map, 56, len(headers) + len(loads))


def copy(source, to):
    """Copies the file with room for more headers before the memory, sparse as it is."""
    core = Core(source)
    first = min(load[2] for load in core.loads)
    with open(to, "w+b") as out:
        out.write(core.map[:first])
        out.truncate(os.path.getsize(source) + ROOM)
        at, fd = first, core.file.fileno()
        while True:
            try:
                at = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(fd, at, os.SEEK_HOLE)
            while at < end:
                part = core.map[at : min(end, at + (4 << 20))]
                out.seek(at + ROOM)
                out.write(part)
                at += len(part)
        out.seek(64)
        for header in core.notes + core.loads:
            move = ROOM if header[0] == 1 else 0
            out.write(PHDR.pack(*header[:2], header[2] + move, *header[3:]))
    return Core(to)


def main():
    source, times, to = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    core = copy(source, to)
    end = max(load[4] + load[6] for load in core.loads)
    tiler = Tiler(core, -(-end // GIB) * GIB)
    numbers = [number for number in range(-(-end // SECTION)) if tiler.entry(number) & 2]
    for tile in range(1, times):
        for number in numbers:
            tiler.section(number, tile)
            tiler.structures(number, tile)
    write_head(core, times, tiler.stride)


main()
