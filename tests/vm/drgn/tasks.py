"""Prints how many tasks a dump lists, and of how many the stack is there; run as: drgn -c DUMP -s VMLINUX tasks.py"""

from drgn import FaultError
from drgn.helpers.linux import for_each_task

tasks = stacks = 0
for task in for_each_task(prog):
    task.comm.string_(), task.pid.value_()
    tasks += 1
    try:
        stacks += len(prog.stack_trace(task)) > 1
    except (FaultError, LookupError, ValueError):
        # It is running, or what unwinding needs is not in the dump.
        pass
print(tasks, stacks)
