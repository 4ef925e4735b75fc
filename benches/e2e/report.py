#!/usr/bin/env python3
"""Writes docs/benchmarks.md and its SVG plots from the JSON of run.py and mount.py.

    report.py RESULTS.json MOUNT.json... DOCS-DIRECTORY"""

import json
import pathlib
import sys

from mount import table as mount_table

HEAD = """# Benchmarks

Written by `make bench`; do not edit. What the figures mean: [performance.md](performance.md).

{date}, {machine}, load average {load:.0f}; medians of {rounds} alternating runs. CPU time is user and system, all
processes of a pipeline; RSS is the largest process's. Other work ran on the machine, so compare within a table only.

"""


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|---|" + "---:|" * (len(header) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n\n"


def run_rows(runs, base):
    for name, run in runs.items():
        yield [
            name.replace("|", "\\|"),
            f"{run['cpu']:.2f}",
            f"{run['cpu'] / runs[base]['cpu']:.2f}",
            f"{run['wall']:.2f}",
            f"{run['size'] / 1e6:.1f}",
            f"{run['size'] / runs[base]['size']:.2f}",
            f"{run['rss'] / 2**20:.0f}",
        ]


def runs_section(title, results, base):
    text = f"## {title}\n\n"
    header = ["", "CPU s", "ratio", "wall s", "MB", "ratio", "RSS MiB"]
    for result in results:
        level = f", level {result['level']}" if "level" in result else ""
        text += f"`{result['vmcore']}`, {result['bytes'] / 1e6:.0f} MB{level} (ratios to `{base}`):\n\n"
        text += table(header, run_rows(result["runs"], base))
    return text


def thread_rows(results):
    """Wall time and CPU time of two threads over those of one."""
    for result in results:
        one, two = result["runs"]["ours, 1 thread"], result["runs"]["ours, 2 threads"]
        walls = [f"{two['wall'] / one['wall']:.2f}", f"{two['cpu'] / one['cpu']:.2f}"]
        yield [f"`{result['vmcore']}`, level {result['level']}", *walls]


def share_rows(results, stages):
    """What encryption takes of one thread's CPU time: the bytes written at the speed of sealing alone."""
    for result in results:
        run = result["runs"]["ours, 1 thread"]
        share = run["size"] / stages["collect/seal"] / run["cpu"]
        yield [f"`{result['vmcore']}`, level {result['level']}", f"{share:.1%}"]


def ram_section(curve):
    rows = [[f"{at['gib']}", f"{at['cpu']:.2f}", f"{at['rss'] / 2**20:.1f}"] for at in curve]
    text = "## Memory and time over the size of RAM\n\nSparse machines, level 31, one thread. ![](rss.svg)\n\n"
    return text + table(["RAM GiB", "CPU s", "RSS MiB"], rows)


def stages_section(stages):
    rows = [[name, f"{speed / 1e6:.0f}"] for name, speed in stages.items()]
    text = "## Stages\n\nOne core, bytes of pages; `classify` counts the bytes of the pages it judges.\n\n"
    return text + table(["stage", "MB/s"], rows)


def svg(width, height, body):
    style = "<style>text{font:12px sans-serif}</style>"
    return f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">{style}{body}</svg>\n'


def bars(result, key, unit, scale):
    """Horizontal bars, one per command."""
    runs = result["runs"]
    top = max(run[key] for run in runs.values())
    title = f"{result['vmcore']}, level {result['level']}: {unit}"
    body = f'<text x="4" y="16">{title}</text>'
    for row, (name, run) in enumerate(runs.items()):
        y, length = 28 + row * 22, 300 * run[key] / top
        colour = "#2a7" if name.startswith("ours") else "#999"
        body += f'<text x="4" y="{y + 13}">{name}</text>'
        body += f'<rect x="220" y="{y}" width="{length:.0f}" height="16" fill="{colour}"/>'
        body += f'<text x="{226 + length:.0f}" y="{y + 13}">{run[key] / scale:.2f}</text>'
    return svg(600, 36 + 22 * len(runs), body)


def ram_plot(curve):
    """Peak RSS in MiB over RAM, the axis of RAM by its logarithm."""
    points, body = [], '<text x="4" y="16">peak RSS (MiB) over RAM, one thread</text>'
    for at, point in enumerate(curve):
        x, rss = 60 + at * 120, point["rss"] / 2**20
        y = 180 - rss * 7
        points.append(f"{x},{y:.0f}")
        body += f'<text x="{x - 20}" y="200">{point["gib"]} GiB</text><text x="{x}" y="{y - 8:.0f}">{rss:.1f}</text>'
    line = " ".join(points)
    return svg(160 + 120 * len(curve), 210, body + f'<polyline points="{line}" fill="none" stroke="#2a7" stroke-width="2"/>')


def main():
    results, *mounts = [json.loads(pathlib.Path(path).read_text()) for path in sys.argv[1:-1]]
    docs = pathlib.Path(sys.argv[-1])
    text = HEAD.format(**results)
    shown = [result for result in results["collect"] if result["level"] == 31][-1]
    for key, unit, scale in (("cpu", "CPU seconds", 1), ("size", "MB", 1e6)):
        (docs / f"{key}.svg").write_text(bars(shown, key, unit, scale))
    text += "![](cpu.svg) ![](size.svg)\n\n"
    text += runs_section("Collecting", results["collect"], "makedumpfile -l (plain)")
    text += "## Two threads over one\n\n" + table(["", "wall", "CPU"], thread_rows(results["collect"]))
    if "collect/seal" in results["stages"]:
        text += "## Encryption's share of CPU time\n\nBytes written at the speed of `collect/seal`, one thread.\n\n"
        text += table(["", "share"], share_rows(results["collect"], results["stages"]))
    text += runs_section("Restoring", results["restore"], "makedumpfile -R (plain)")
    if mounts:
        text += "## To the first prompt of crash\n\n" + "\n".join(mount_table(mount) for mount in mounts) + "\n"
    if results["ram"]:
        text += ram_section(results["ram"])
        (docs / "rss.svg").write_text(ram_plot(results["ram"]))
    if results["stages"]:
        text += stages_section(results["stages"])
    (docs / "benchmarks.md").write_text(text.rstrip("\n") + "\n")


if __name__ == "__main__":
    main()
