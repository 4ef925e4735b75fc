"""Prints what an analyst reaches from a dump without a page of users': tasks with their stacks, modules, the allocated
objects of every slab cache, the pages of every file that is cached, and the lists of free blocks. One line each, counted
and summed, so that two dumps can be compared; run as: drgn -c DUMP -s VMLINUX objects.py"""

import hashlib

from drgn import FaultError
from drgn.helpers.linux import (
    for_each_mount,
    for_each_online_node,
    for_each_slab_cache,
    for_each_task,
    inode_for_each_page,
    list_for_each_entry,
    page_to_pfn,
    slab_cache_for_each_allocated_object,
)


def line(name, items):
    digest, count = hashlib.sha256(), 0
    for item in items:
        digest.update(repr(item).encode())
        count += 1
    print(f"{name}: {count} {digest.hexdigest()}")


def tasks():
    for task in for_each_task(prog):
        try:
            stack = [frame.pc for frame in prog.stack_trace(task)]
        except (FaultError, LookupError, ValueError) as error:
            stack = type(error)
        yield task.comm.string_(), task.pid.value_(), stack


def modules():
    for module in list_for_each_entry("struct module", prog["modules"].address_of_(), "list"):
        yield module.name.string_(), module.state.value_()


# drgn goes through all pages of the machine for each cache: of a large one these two are compared.
SOME = (b"task_struct", b"dentry")
IS_LARGE = prog["max_pfn"].value_() > 1 << 20


def slab_objects():
    for cache in for_each_slab_cache(prog):
        if IS_LARGE and cache.name.string_() not in SOME:
            continue
        try:
            for item in slab_cache_for_each_allocated_object(cache, "void"):
                yield item.value_()
        except (FaultError, ValueError) as error:
            # What one cache says of itself may be in the middle of a change.
            yield cache.name.string_(), type(error)


def cached():
    for mount in for_each_mount(prog):
        for inode in list_for_each_entry("struct inode", mount.mnt.mnt_sb.s_inodes.address_of_(), "i_sb_list"):
            for index, page in inode_for_each_page(inode):
                yield inode.value_(), index, page_to_pfn(page).value_()


def free_blocks():
    for number in for_each_online_node(prog):
        for zone in prog["node_data"][number].node_zones:
            for order, area in enumerate(zone.free_area if zone.present_pages else []):
                for head in area.free_list:
                    for page in list_for_each_entry("struct page", head.address_of_(), "lru"):
                        yield order, page_to_pfn(page).value_()


line("tasks", tasks())
line("modules", modules())
line("objects", slab_objects())
line("cached pages", cached())
line("free blocks", free_blocks())
