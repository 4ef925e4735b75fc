"""Prints the numbers of the pages on the lists of free pages that CPUs keep, of every zone, ascending: found from the zones
and their per-CPU structures by the debug information, not from page structures. Further pages of a block are among them.
The number of pages is checked against what the zones count."""

from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.mm import page_to_pfn
from drgn.helpers.linux.nodemask import for_each_online_node
from drgn.helpers.linux.percpu import per_cpu_ptr

KINDS = prog.constant("MIGRATE_PCPTYPES").value_()
# Blocks of orders up to PAGE_ALLOC_COSTLY_ORDER have lists of their own; what follows are huge pages of 2 MiB.
COSTLY_ORDER, HUGE_ORDER = 3, 9


def pageset_of(zone, cpu):
    """The lists of a zone on a CPU. Until v5.14 (commit 28f836b6777b) they were one structure deeper."""
    try:
        return per_cpu_ptr(zone.per_cpu_pageset, cpu)
    except AttributeError:
        return per_cpu_ptr(zone.pageset, cpu).pcp


pages = set()
for number in for_each_online_node(prog):
    node = prog["node_data"][number]
    for zone in node.node_zones:
        if not zone.present_pages:
            continue
        for cpu in for_each_possible_cpu(prog):
            pageset = pageset_of(zone, cpu)
            found = 0
            for index, head in enumerate(pageset.lists):
                order = index // KINDS if index // KINDS <= COSTLY_ORDER else HUGE_ORDER
                for page in list_for_each_entry("struct page", head.address_of_(), "lru"):
                    first = page_to_pfn(page).value_()
                    pages.update(range(first, first + (1 << order)))
                    found += 1 << order
            assert found == pageset.count.value_(), (zone.name.string_(), cpu, found, pageset.count.value_())
print(*sorted(pages))
