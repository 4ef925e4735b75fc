#!/usr/bin/env python3
"""How long an analyst waits for the first prompt of crash: on a mounted dump, and when the dump is restored first.

    mount.py [--level N] [--rounds N] --crash PATH --out FILE VMCORE VMLINUX

crash itself reads for seconds in vmlinux, with and without a mount; what it takes on the restored file tells that apart,
and so does a vmlinux with the index that gdb-add-index (package gdb) makes. dmesg is measured by the way. CPU time is
user and system of all processes."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import tempfile

from run import TOP, machine, measure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--bin", default=str(TOP / "target/release"))
    parser.add_argument("--scratch", help="a directory with room for the dump and the restored dump")
    parser.add_argument("--crash", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("vmcore")
    parser.add_argument("vmlinux")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.scratch) as scratch:
        at = {name: f"{scratch}/{name}" for name in ("key", "to", "dump", "restored", "mnt", "quit", "log", "stat", "indexed")}
        os.mkdir(at["mnt"])
        pathlib.Path(at["quit"]).write_text("quit\n")
        encrypt, decrypt = f"{args.bin}/vmcore-encrypt", f"{args.bin}/vmcore-decrypt"
        steps = f"{decrypt} keygen -o {at['key']} > {at['to']}"
        steps += f" && {encrypt} --message-level 0 -d {args.level} -R {at['to']} {args.vmcore} {at['dump']}"
        steps += f" && cp {args.vmlinux} {at['indexed']} && gdb-add-index {at['indexed']}"
        subprocess.run(["bash", "-c", steps], check=True)
        crash = f"{args.crash} -s -i {at['quit']} {args.vmlinux}"
        mount = (
            f"{decrypt} mount -i {at['key']} {at['dump']} {at['mnt']} --"
            f" sh -c '{crash} {at['mnt']}/vmcore < /dev/null && cat /proc/$PPID/stat > {at['stat']}'"
        )
        commands = {
            "mount": mount,
            "indexed": mount.replace(args.vmlinux, at["indexed"]),
            "restore": f"{decrypt} -f -i {at['key']} {at['dump']} {at['restored']}",
            "crash": f"{crash} {at['restored']} < /dev/null",
            "dmesg": f"{decrypt} dmesg -i {at['key']} {at['dump']} > {at['log']}",
        }
        runs, own = {name: [] for name in commands}, []
        for _ in range(args.rounds):
            for name, command in commands.items():
                made = {"restore": "restored", "dmesg": "log"}.get(name, "dump")
                # measure() removes what a command is to make; the others make nothing.
                runs[name].append(measure_made(command, at[made], made == "dump"))
            own.append(own_cpu(at["stat"]))
        report = {
            "machine": machine(),
            "load": os.getloadavg()[2],
            "vmcore": pathlib.Path(args.vmcore).stem,
            "level": args.level,
            "dump": os.path.getsize(at["dump"]),
            "restored": os.path.getsize(at["restored"]),
            "own": statistics.median(own),
        }
        for name, all_ in runs.items():
            report[name] = {key: statistics.median(run[key] for run in all_) for key in ("cpu", "wall")}
    pathlib.Path(args.out).write_text(json.dumps(report, indent=1) + "\n")
    print(table(report))


def own_cpu(path):
    """CPU seconds of the process that served the mount: user and system, from its /proc/PID/stat."""
    fields = pathlib.Path(path).read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure_made(command, made, keep):
    if keep:
        out = made + ".none"
        result = measure(f"{command}; status=$?; touch {out}; exit $status", out)
        os.remove(out)
        return result
    return measure(command, made)


def table(report):
    """The measurement as Markdown."""
    lines = [
        f"`{report['vmcore']}`, level {report['level']}: dump {report['dump'] / 1e6:.0f} MB,"
        f" restored {report['restored'] / 1e6:.0f} MB; load average {report['load']:.0f}:",
        "",
        "| | CPU s | wall s | sooner than restoring first |",
        "|---|---:|---:|---:|",
    ]
    waits = {
        "mount": "mount, crash to its prompt, unmount",
        "indexed": "the same, vmlinux with an index",
        "restore": "restore",
        "crash": "crash to its prompt on the restored file",
        "dmesg": "dmesg",
    }
    # With an index crash takes as long on a restored file.
    after = {"mount": "crash", "indexed": "indexed"}
    for name, words in waits.items():
        cpu, wall = report[name]["cpu"], report[name]["wall"]
        first = report["restore"]["wall"] + report[after.get(name, name)]["wall"]
        sooner = f"{first / wall:.1f} times" if name in after else ""
        lines.append(f"| {words} | {cpu:.2f} | {wall:.2f} | {sooner} |")
    less = report["restore"]["cpu"] / max(report["own"], 0.01)
    lines += ["", f"The mount itself took {report['own']:.2f} s of CPU time, {less:.0f} times less than restoring."]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
