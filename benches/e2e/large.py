#!/usr/bin/env python3
"""Large machines: our collector and makedumpfile on the same cores at level 31, alternating in the same run, written as a
table: medians of CPU time (user and system, of the collector alone), output size, peak RSS, wall time.

    large.py [--rounds N] [--rates MB,MB] --makedumpfile PATH --out FILE.md CORE...

With --rates also what a user waits for: each collector pinned to one CPU writes into a pipe, whose reader takes so many MB a
second. CPU times can be compared on a busy machine, since runs alternate; wall times cannot."""

import argparse
import datetime
import os
import pathlib
import platform
import statistics
import subprocess
import sys
import tempfile
import time

TOP = pathlib.Path(__file__).resolve().parents[2]
PIECE = 64 << 10


def wait(pid, started):
    _, status, used = os.wait4(pid, 0)
    # 6: whole, with a warning: QEMU's firmware has no page structures.
    if os.waitstatus_to_exitcode(status) not in (0, 6):
        sys.exit("large.py: error: a collector failed")
    wall = time.monotonic() - started
    return {"cpu": used.ru_utime + used.ru_stime, "wall": wall}


def peak_rss(words):
    """Bytes. What the kernel keeps of this program's own child began with a copy of this program; time(1) is small."""
    with tempfile.NamedTemporaryFile("r") as peak:
        subprocess.run(["/usr/bin/time", "--quiet", "-o", peak.name, "-f", "%M", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return int(peak.read()) << 10


def start(words, out, cpus=None):
    pid = os.fork()
    if pid == 0:
        if cpus:
            os.sched_setaffinity(0, cpus)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null if out is None else out, 1)
        os.dup2(null, 2)
        os.execvp(words[0], words)
    return pid


def measure(words, out):
    """Runs a collector that writes the file `out`."""
    pathlib.Path(out).unlink(missing_ok=True)
    started = time.monotonic()
    found = wait(start(words if "estimate" in words else [*words, out], None), started)
    return {**found, "size": os.path.getsize(out) if os.path.exists(out) else 0}


def throttled(words, rate):
    """Runs a collector on one CPU that writes to a pipe, of which `rate` bytes a second are taken."""
    reader, writer = os.pipe()
    started = time.monotonic()
    pid = start([*words, "-F"], writer, {0})
    os.close(writer)
    taken = 0
    while piece := os.read(reader, PIECE):
        taken += len(piece)
        ahead = taken / rate - (time.monotonic() - started)
        if ahead > 0.002:
            time.sleep(ahead)
    os.close(reader)
    return {**wait(pid, started), "size": taken}


def alternate(commands, rounds, run):
    """Every command once a round; medians."""
    runs = {name: [] for name in commands}
    for _ in range(rounds):
        for name, words in commands.items():
            runs[name].append(run(words))
    keys = ["cpu", "wall", "size"]
    return {name: {key: statistics.median(run[key] for run in all_) for key in keys} for name, all_ in runs.items()}


def commands(args, core, recipient):
    ours = [args.collector, "--message-level", "0", "-f", "-d", "31", "-r", recipient]
    peer = [args.makedumpfile, "--message-level", "0", "-d", "31"]
    return {
        "ours, 1 thread": [*ours, "--num-threads", "1", core],
        "of that, the walk over page structures": [args.collector, "estimate", core],
        "ours, 2 threads": [*ours, "--num-threads", "2", core],
        "ours with --keep-page-structures": [*ours, "--keep-page-structures", "--num-threads", "1", core],
        "makedumpfile -l (plain)": [*peer, "-l", core],
        "makedumpfile -z (plain)": [*peer, "-z", core],
    }


def table(runs, reference):
    lines = ["|  | CPU s | ratio | MB | ratio | RSS MiB | wall s |", "|---|---:|---:|---:|---:|---:|---:|"]
    base = runs[reference]
    for name, run in runs.items():
        size = f"{run['size'] / 1e6:.1f} | {run['size'] / base['size']:.2f}" if run["size"] else "| "
        cpu = f"{run['cpu']:.2f} | {run['cpu'] / base['cpu']:.2f}"
        lines.append(f"| {name} | {cpu} | {size} | {run['rss'] / 2**20:.0f} | {run['wall']:.2f} |")
    return "\n".join(lines)


def waiting(args, core, recipient):
    lines = ["|  | " + " | ".join(f"{rate} MB/s" for rate in args.rates) + " |", "|---|" + "---:|" * len(args.rates)]
    shown = {name: words for name, words in commands(args, core, recipient).items() if "estimate" not in words and "2 threads" not in name}
    found = [alternate(shown, args.rounds, lambda words, rate=rate: throttled(words, rate * 1e6)) for rate in args.rates]
    for name in found[0]:
        lines.append(f"| {name} | " + " | ".join(f"{runs[name]['wall']:.2f}" for runs in found) + " |")
    return "Seconds on one CPU, by the speed of what the dump is written to:\n\n" + "\n".join(lines)


def copy_speed():
    """Bytes per second of one core that copies memory: what reading all page structures cannot beat."""
    block, to = bytearray(256 << 20), bytearray(256 << 20)
    best = min(timed(lambda: memoryview(to).__setitem__(slice(None), block)) for _ in range(5))
    return len(block) / best


def timed(what):
    started = time.process_time()
    what()
    return time.process_time() - started


def structures(core):
    """Bytes of page structures: 64 for each page of memory."""
    headers = subprocess.check_output(["readelf", "-lW", core], text=True, stderr=subprocess.DEVNULL).splitlines()
    return sum(int(words[5], 16) for words in map(str.split, headers) if words[:1] == ["LOAD"]) // 4096 * 64


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rates", type=lambda text: [int(rate) for rate in text.split(",")], default=[])
    parser.add_argument("--collector", default=str(TOP / "target/release/vmcore-encrypt"))
    parser.add_argument("--makedumpfile", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("cores", nargs="+")
    args = parser.parse_args()
    recipient = "age19laqk4ngpc9qr9uwu8p4hcesw6j25r6l3l2jqs8evp69kzdn93us3rrts6"
    model = [line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")]
    speed = copy_speed()
    text = [
        "# Benchmarks: large machines\n\nWritten by `make bench-large`; do not edit. What the figures mean: [performance.md](performance.md).\n",
        f"{datetime.date.today()}, {os.cpu_count()} CPUs ({(model or [platform.machine()])[0]}), Linux {platform.release()}, load average "
        f"{os.getloadavg()[2]:.0f}; level 31, medians of {args.rounds} alternating runs, ratios to `makedumpfile -l (plain)`. "
        f"One core copies {speed / 1e9:.1f} GB of memory a second.\n",
    ]
    with tempfile.TemporaryDirectory(dir="/dev/shm") as scratch:
        for core in args.cores:
            print(core, file=sys.stderr)
            asked = commands(args, core, recipient)
            runs = alternate(asked, args.rounds, lambda words: measure(words, f"{scratch}/out"))
            for name, words in asked.items():
                runs[name]["rss"] = peak_rss(words if "estimate" in words else [*words, f"{scratch}/rss"])
                pathlib.Path(f"{scratch}/rss").unlink(missing_ok=True)
            size = structures(core)
            text.append(f"## `{pathlib.Path(core).stem}`\n\nPage structures {size / 1e9:.2f} GB: copying them alone takes {size / speed:.2f} s.\n")
            text.append(table(runs, "makedumpfile -l (plain)") + "\n")
            if args.rates:
                text.append(waiting(args, core, recipient) + "\n")
            pathlib.Path(args.out).write_text("\n".join(text))


if __name__ == "__main__":
    main()
