#!/usr/bin/env python3
"""Moves the program headers of a 64-bit little-endian ELF core to where /proc/vmcore has them, right after the ELF
header, and drops its section headers: QEMU writes those first, and makedumpfile then finds no segment.

    front.py CORE"""

import struct
import sys

ELF_HEADER, PROGRAM_HEADER = 64, 56


def main():
    with open(sys.argv[1], "r+b") as core:
        header = core.read(ELF_HEADER)
        (offset,) = struct.unpack_from("<Q", header, 32)
        (count,) = struct.unpack_from("<H", header, 56)
        core.seek(offset)
        headers = core.read(count * PROGRAM_HEADER)
        first = min(struct.unpack_from("<Q", headers, at + 8)[0] for at in range(0, len(headers), PROGRAM_HEADER))
        if first < ELF_HEADER + len(headers):
            sys.exit("front.py: error: no room for the program headers before the first segment")
        # e_phoff, e_shoff; e_shnum, e_shstrndx.
        header = header[:32] + struct.pack("<QQ", ELF_HEADER, 0) + header[48:60] + struct.pack("<HH", 0, 0)
        core.seek(0)
        core.write(header + headers)


main()
