"""How long `icdtune code "..."` takes in a fresh process, from the first byte of Python to the last line.

    python benchmarks/first_answer.py
    python benchmarks/first_answer.py --model outputs/demo/stage2/model --repeats 9
    ICDTUNE_CACHE=$(mktemp -d) python benchmarks/first_answer.py    # the first process then reads the code set anew

CPU seconds are those of user and system together; wall time alone says more of what else the machine does.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

TEXT = "type 2 diabetes with foot ulcer"


def main() -> None:
    """Print the median, the least and the most of both, and what was answered."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("text", nargs="?", default=TEXT, help=f"what is coded (default: {TEXT})")
    parser.add_argument("--model", help="checkpoint folder (when left out: the default model)")
    parser.add_argument("--repeats", type=int, default=5, help="processes, after one that fills the caches (default: 5)")
    given = parser.parse_args()
    command = [sys.executable, "-m", "serving.code", given.text, "--json", *(["--model", given.model] if given.model else [])]
    first, codes = time_process(command)
    print(f"{given.text}: {', '.join(codes) or 'no code'}")
    print(f"{'first process':<14} wall {first[0]:6.2f} s   CPU {first[1]:6.2f} s")
    runs = [time_process(command)[0] for _ in range(given.repeats)]
    for name, values in zip(("wall", "CPU"), zip(*runs, strict=True), strict=True):
        print(
            f"{name:<14} median {statistics.median(values):.2f} s   ({min(values):.2f} to {max(values):.2f}, {len(runs)} runs)"
        )


def time_process(command: list[str]) -> tuple[tuple[float, float], list[str]]:
    """Return wall and CPU seconds of a process, and the codes that it wrote, sure or not."""
    before, started = os.times(), time.perf_counter()
    done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
    wall, after = time.perf_counter() - started, os.times()
    if done.returncode not in (0, 1):
        raise SystemExit(done.returncode)
    row = json.loads(done.stdout)
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return (wall, cpu), [one["code"] for one in (*row["codes"], *row["candidates"])]


if __name__ == "__main__":
    main()
