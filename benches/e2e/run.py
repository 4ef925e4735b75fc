#!/usr/bin/env python3
"""Pairs our commands with the peers' on the same vmcores, alternating in the same run, and writes what was measured
as JSON: medians of CPU time (user and system, all processes of a pipeline), wall time, output size, peak RSS.

    run.py [--rounds N] [--levels N,N] [--ram DIR] [--stages DIR] --makedumpfile PATH --out FILE VMCORE...

--ram holds ram-GIB.elf files: their collection is measured once each. --stages is criterion's directory, whose means
are taken over. Ratios mean something on a busy machine, seconds do not."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]


def measure(command, out):
    """Runs a shell pipeline in a process of its own; peak RSS is that of its largest process."""
    pathlib.Path(out).unlink(missing_ok=True)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        # The kernel's own figure of peak RSS begins with a copy of this program; time(1) is small.
        with tempfile.NamedTemporaryFile("r") as peak:
            timed = ["/usr/bin/time", "--quiet", "-o", peak.name, "-f", "%M", "bash", "-c", "set -o pipefail; " + command]
            started = time.monotonic()
            status = subprocess.run(timed, stdout=subprocess.DEVNULL).returncode
            wall = time.monotonic() - started
            rss = int(peak.read()) << 10
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = {"status": status, "wall": wall, "cpu": used.ru_utime + used.ru_stime, "rss": rss}
        os.write(writer, json.dumps(result).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        result = json.load(pipe)
    os.waitpid(pid, 0)
    if result["status"]:
        sys.exit(f"run.py: error: this failed: {command}")
    result["size"] = os.path.getsize(out)
    return result


def alternate(commands, rounds, out):
    """One measurement of every command per round; medians of all rounds."""
    runs = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            runs[name].append(measure(command, out))
    keys = ["cpu", "wall", "size", "rss"]
    return {name: {key: statistics.median(run[key] for run in all_) for key in keys} for name, all_ in runs.items()}


def collecting(args, core, level, recipient, out):
    ours = f"{args.bin}/vmcore-encrypt --message-level 0 -f -r {recipient} -d {level}"
    peer = f"{args.makedumpfile} --message-level 0 -d {level}"
    commands = {
        "ours, 1 thread": f"{ours} --num-threads 1 {core} {out}",
        "ours -l, 1 thread": f"{ours} -l --num-threads 1 {core} {out}",
        "ours -z, 1 thread": f"{ours} -z --num-threads 1 {core} {out}",
        "ours, 2 threads": f"{ours} --num-threads 2 {core} {out}",
        "makedumpfile -l (plain)": f"{peer} -l {core} {out}",
        "makedumpfile -z (plain)": f"{peer} -z {core} {out}",
        "makedumpfile -c (plain)": f"{peer} -c {core} {out}",
    }
    # What the exact free pages cost and save: at other levels there are none.
    if level & 16:
        for name, options in (("ours", ""), ("ours -l", "-l "), ("ours -z", "-z ")):
            keeping = f"{ours} --keep-cpu-lists {options}--num-threads 1 {core} {out}"
            commands[f"{name}, 1 thread, --keep-cpu-lists"] = keeping
        # What the kernel's own types cost and save: the first reads them.
        for option in ("--keep-page-structures", "--as-makedumpfile"):
            commands[f"ours, 1 thread, {option}"] = f"{ours} {option} --num-threads 1 {core} {out}"
    for tool in ("age", "rage"):
        if shutil.which(tool):
            commands[f"makedumpfile -F -l | {tool}"] = f"{peer} -F -l {core} | {tool} -r {recipient} > {out}"
    return commands


def restoring(args, core, recipient, key, scratch, out):
    dump, flat = f"{scratch}/dump.age", f"{scratch}/plain.flat"
    ours = f"{args.bin}/vmcore-decrypt -f -i {key}"
    encrypt = f"{args.bin}/vmcore-encrypt --message-level 0 -f -r {recipient} -d 31 {core} {dump}"
    subprocess.run(["bash", "-c", f"{encrypt} && age -d -i {key} {dump} | zstd -qd > {flat}"], check=True)
    arrange = f"{args.makedumpfile} --message-level 0 -R {out}"
    return {
        "ours, zstd pages, 2 threads": f"{ours} {dump} {out} 2> /dev/null",
        "ours, --compress none": f"{ours} --compress none {dump} {out} 2> /dev/null",
        "makedumpfile -R (plain)": f"{arrange} < {flat}",
        "age -d, zstd -d, makedumpfile -R": f"age -d -i {key} {dump} | zstd -qd | {arrange}",
    }


def ram_curve(args, recipient, out):
    """CPU time and RSS of collecting sparse machines; in the order of their size."""
    files = sorted(pathlib.Path(args.ram).glob("ram-*.elf"), key=lambda file: file.stat().st_size)
    curve = []
    for file in files:
        command = f"{args.bin}/vmcore-encrypt --message-level 0 -f -r {recipient} --num-threads 1 {file} {out}"
        curve.append({"gib": int(file.stem.split("-")[1]), **measure(command, out)})
        print(f"{file.name}: {curve[-1]}", file=sys.stderr)
    return curve


def stages(directory):
    """Bytes per second of every stage, from criterion's means."""
    found = {}
    for estimates in sorted(pathlib.Path(directory).glob("*/*/new/estimates.json")):
        mean = json.loads(estimates.read_text())["mean"]["point_estimate"]
        facts = json.loads((estimates.parent / "benchmark.json").read_text())
        found[facts["full_id"]] = facts["throughput"]["Bytes"] / (mean / 1e9)
    return found


def machine():
    model = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    return f"{os.cpu_count()} CPUs ({model[0] if model else platform.machine()}), Linux {platform.release()}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--bin", default=str(TOP / "target/release"))
    parser.add_argument("--levels", default="31,1")
    parser.add_argument("--ram")
    parser.add_argument("--stages")
    parser.add_argument("--makedumpfile", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("vmcores", nargs="+")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        key, out = f"{scratch}/key", f"{scratch}/out"
        subprocess.run(["age-keygen", "-o", key], check=True, stderr=subprocess.DEVNULL)
        recipient = subprocess.check_output(["age-keygen", "-y", key], text=True).strip()
        report = {"date": datetime.date.today().isoformat(), "machine": machine(), "rounds": args.rounds, "load": 0}
        report["collect"], report["restore"] = [], []
        for core in args.vmcores:
            facts = {"vmcore": pathlib.Path(core).stem, "bytes": os.path.getsize(core)}
            subprocess.run(["cat", core], check=True, stdout=subprocess.DEVNULL)
            for level in map(int, args.levels.split(",")):
                print(f"{core}, level {level}", file=sys.stderr)
                commands = collecting(args, core, level, recipient, out)
                report["collect"].append({**facts, "level": level, "runs": alternate(commands, args.rounds, out)})
            commands = restoring(args, core, recipient, key, scratch, out)
            report["restore"].append({**facts, "runs": alternate(commands, args.rounds, out)})
        report["ram"] = ram_curve(args, recipient, out) if args.ram else []
        report["stages"] = stages(args.stages) if args.stages else {}
        report["load"] = os.getloadavg()[2]
    pathlib.Path(args.out).write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
