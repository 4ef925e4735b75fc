"""Prints the numbers of the pages on the lists of free pages that CPUs keep, of every zone, ascending: found from the zones
and their per-CPU structures by the debug information, not from page structures."""

from drgn.helpers.linux.cpumask import for_each_possible_cpu
from drgn.helpers.linux.list import list_for_each_entry
from drgn.helpers.linux.mm import page_to_pfn
from drgn.helpers.linux.nodemask import for_each_online_node
from drgn.helpers.linux.percpu import per_cpu_ptr



def per_cpu_lists(zone, cpu):
    """The lists of a zone on a CPU. Until v5.14 (commit 28f836b6777b) they were one structure deeper."""
    try:
        return per_cpu_ptr(zone.per_cpu_pageset, cpu).lists
    except AttributeError:
        return per_cpu_ptr(zone.pageset, cpu).pcp.lists


pages = set()
for number in for_each_online_node(prog):
    node = prog["node_data"][number]
    for zone in node.node_zones:
        if not zone.present_pages:
            continue
        for cpu in for_each_possible_cpu(prog):
            for head in per_cpu_lists(zone, cpu):
                for page in list_for_each_entry("struct page", head.address_of_(), "lru"):
                    pages.add(page_to_pfn(page).value_())
print(*sorted(pages))
