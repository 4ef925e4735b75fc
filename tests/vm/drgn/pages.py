"""Prints how many pages of physical memory a dump holds, and one sum over their numbers and contents. drgn reads kdump
files, compressed by any codec or flattened, through libkdumpfile, and ELF cores by itself."""

import hashlib
import sys

from drgn import FaultError, Program

PAGE = 4096

path, end = sys.argv[1], int(sys.argv[2])
program = Program()
program.set_core_dump(path)
digest, pages = hashlib.sha256(), 0
for pfn in range(end):
    try:
        content = program.read(pfn * PAGE, PAGE, physical=True)
    except FaultError:
        continue
    digest.update(pfn.to_bytes(8, "little") + content)
    pages += 1
print(pages, digest.hexdigest())
