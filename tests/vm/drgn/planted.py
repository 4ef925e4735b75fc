"""What an analyst sees in a dump of the lab's guest: the panicking task, its back trace, and the planted secrets
that the dump level keeps. Prints one line per finding; run as: drgn -c DUMP -s VMLINUX planted.py SECRETS"""

import sys
from pathlib import Path

from drgn import FaultError
from drgn.helpers.linux import (
    access_process_vm,
    for_each_task,
    for_each_vma,
    get_dmesg,
    inode_for_each_page,
    path_lookup,
    page_to_virt,
)

PAGE = 4096
secrets = Path(sys.argv[1])


def stack():
    thread = prog.crashed_thread()
    print("panicking task:", thread.object.comm.string_().decode())
    for frame in thread.stack_trace():
        if frame.name:
            print("frame:", frame.name)


def klog():
    return (secrets / "klog").read_bytes().strip() in get_dmesg(prog)


def file_pages(path):
    for _, page in inode_for_each_page(path_lookup(prog, path).dentry.d_inode):
        try:
            yield prog.read(page_to_virt(page), PAGE)
        except FaultError:
            pass


def file(name, path):
    wanted = (secrets / name).read_bytes()
    pages = {wanted[at : at + PAGE] for at in range(0, len(wanted), PAGE)}
    return pages <= set(file_pages(path))


def slab():
    prefix = (secrets / "slab").read_text().strip()
    link = path_lookup(prog, f"/run/shm/{prefix}-name-0").dentry.d_inode
    return link.i_link.string_().decode() == f"{prefix}-target-0"


def anon():
    wanted = (secrets / "anon").read_bytes()
    for task in for_each_task(prog):
        if task.comm.string_() == b"dd":
            for vma in for_each_vma(task.mm):
                try:
                    memory = access_process_vm(task, vma.vm_start, vma.vm_end - vma.vm_start)
                except FaultError:
                    continue
                if wanted in memory:
                    return True
    return False


def report(name, find, *args):
    try:
        found = find(*args)
    except (FaultError, LookupError, OSError) as error:
        found = f"no ({error})"
    print(f"{name}:", {True: "found", False: "absent"}.get(found, found))


stack()
report("klog", klog)
report("slab", slab)
report("anon", anon)
report("clean", file, "clean", "/mnt/secrets/clean")
report("dirty", file, "dirty", "/mnt/written")
report("tmpfs", file, "tmpfs", "/run/shm/file")
