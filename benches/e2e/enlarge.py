"""A larger vmcore out of a small one: the same kernel, on a machine with many times the memory."""

import shutil
import struct
import subprocess

PT_LOAD = 1
# Elf64_Ehdr up to e_shnum, and Elf64_Phdr (elf(5)), little endian.
EHDR = struct.Struct("<16sHHIQQQIHHHHH")
PHDR = struct.Struct("<IIQQQQQQ")


def enlarge(vmcore, copies, out):
    """Writes to `out` the ELF core `vmcore` with `copies` times its memory: the bytes lie there once, and program
    headers show them again at higher physical addresses, which the crashed kernel knows nothing of. Tools that read
    the kernel see the machine it was; what copies every page has as many times the work."""
    subprocess.run(["cp", "--sparse=always", vmcore, out], check=True)
    with open(out, "r+b") as core:
        ehdr = list(EHDR.unpack(core.read(EHDR.size)))
        phoff, phnum = ehdr[5], ehdr[10]
        core.seek(phoff)
        phdrs = [PHDR.unpack(core.read(PHDR.size)) for _ in range(phnum)]
        loads = [phdr for phdr in phdrs if phdr[0] == PT_LOAD and phdr[5] > 0]
        step = 1 << max(load[4] + load[6] for load in loads).bit_length()
        for copy in range(1, copies):
            # A copy has no virtual address: the kernel maps it nowhere.
            phdrs += [(*load[:3], 0, load[4] + copy * step, *load[5:]) for load in loads]
        ehdr[5], ehdr[10] = core.seek(0, 2), len(phdrs)
        core.write(b"".join(PHDR.pack(*phdr) for phdr in phdrs))
        core.seek(0)
        core.write(EHDR.pack(*ehdr))
    shutil.copymode(vmcore, out)
