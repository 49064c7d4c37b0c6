"""Load the embedded release, warm from its cache, side by side with the library it comes from.

    python benchmarks/codeset_load.py

Each load is a new process that times the import and the load together; they take turns, so that both see the same machine.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys

LOADS = {
    "CodeSet.load(), warm": "from icd10cm import CodeSet; CodeSet.load()",
    "simple_icd_10_cm": "import simple_icd_10_cm; simple_icd_10_cm.get_all_codes()",
}


def main() -> None:
    """Print the median of each, and how many times quicker the warm load is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="loads of each (default: 5)")
    repeats = parser.parse_args().repeats
    for program in LOADS.values():
        time_load(program)  # Writes the cache, and brings the files into memory.
    seconds: dict[str, list[float]] = {name: [] for name in LOADS}
    for _ in range(repeats):
        for name, program in LOADS.items():
            seconds[name].append(time_load(program))
    for name, values in seconds.items():
        print(
            f"{name:<22} median {statistics.median(values):.3f} s   ({min(values):.3f} to {max(values):.3f}, {repeats} loads)"
        )
    warm, library = (statistics.median(values) for values in seconds.values())
    print(f"{'':<22} {library / warm:.1f} times quicker")


def time_load(program: str) -> float:
    """Return the seconds that `program` takes in a new process, its start not counted."""
    timed = f"import time; started = time.perf_counter(); {program}; print(time.perf_counter() - started)"
    return float(
        subprocess.run([sys.executable, "-W", "ignore", "-c", timed], capture_output=True, text=True, check=True).stdout
    )


if __name__ == "__main__":
    main()
