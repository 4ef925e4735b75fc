"""The stacks of all tasks of a dump as drgn unwinds them with full debug information: one line of JSON per task, with the
addresses of its functions, innermost first; then a line with the names of the disks; run as: drgn -c DUMP -s VMLINUX stacks.py"""

import json

from drgn import FaultError
from drgn.helpers.linux import for_each_task
from drgn.helpers.linux.block import disk_name, for_each_disk

KERNEL = 1 << 63


def addresses(trace):
    return [hex(frame.pc) for frame in trace if not frame.is_inline and frame.pc & KERNEL]


def show(pid, task, trace):
    print(json.dumps({"pid": pid, "name": task.comm.string_().decode(), "stack": addresses(trace)}))


for task in for_each_task(prog):
    if task.on_cpu or not task.stack:
        continue
    try:
        show(task.pid.value_(), task, prog.stack_trace(task))
    except (FaultError, LookupError, ValueError):
        pass
crashed = prog.crashed_thread()
show("crashed", crashed.object, crashed.stack_trace())
print(json.dumps({"disks": sorted(disk_name(disk).decode() for disk in for_each_disk(prog))}))
