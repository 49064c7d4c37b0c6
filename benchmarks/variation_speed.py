"""Variants per second on one core, every row checked, beside nlpaug's keyboard and spelling augmenters on the same titles.

    pip install nlpaug gdown
    python benchmarks/variation_speed.py

nlpaug is no dependency of the project. It checks nothing, so the share of its rows that pass the checks of a `typo` row
(no digit, side, negation or encounter changed, no other word of a title, no other code's title) is given beside its speed.
Runs of all writers alternate; medians of `--runs` in CPU time, one thread.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

from data_gen.build import build_rule_writer
from data_gen.checks import RowChecks
from data_gen.folding import fold_text
from data_gen.plan import Plan
from data_gen.variations import VARIATIONS
from data_gen.writing import Writer
from icd10cm import CodeSet
from icd10cm.tabular import Tabular

_ROWS_PER_TITLE = 5
Write = Callable[[], list[tuple[str, str]]]
"""Writes (code, text) rows of all titles."""


def main() -> None:
    """Print rows per second, the ratio to nlpaug, and the share of rows that pass the checks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--titles", type=int, default=1000, help="titles drawn from all codes (default: 1000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each writer (default: 5)")
    settings = parser.parse_args()
    codes = CodeSet.load()
    tabular = Tabular.load()
    checks = RowChecks(codes, tabular)
    drawn = random.Random(3).sample(codes.codes, settings.titles)
    writers = dict(list_ours(codes, tabular, checks, drawn)) | dict(list_theirs(codes, drawn))
    rates: dict[str, list[float]] = defaultdict(list)
    passed: dict[str, float] = {}
    for run in range(settings.runs + 1):
        for name, write in writers.items():
            started = time.process_time()
            rows = write()
            # the first run fills what either side keeps
            if run:
                rates[name].append(len(rows) / (time.process_time() - started))
            elif name not in VARIATIONS:
                passed[name] = share_passing(codes, checks, rows)
    print(f"{settings.titles:,} titles, up to {_ROWS_PER_TITLE} rows each, medians of {settings.runs} runs\n")
    print("| writer | rows per second and core | rows that pass the checks of a typo |\n|---|--:|--:|")
    for name, found in rates.items():
        print(f"| {name} | {statistics.median(found):,.0f} | {passed.get(name, 1.0):.0%} |")
    for name in passed:
        ratio = statistics.median(ours / theirs for ours, theirs in zip(rates["typo"], rates[name], strict=True))
        print(f"\ntypo beside {name}: {ratio:.2f} times its rows per second, {ratio / passed[name]:.2f} times those that pass")


def list_ours(codes: CodeSet, tabular: Tabular, checks: RowChecks, drawn: Sequence[str]) -> Iterator[tuple[str, Write]]:
    """Yield the project's variations, with every check of a data set."""
    for variation in VARIATIONS:
        plan = Plan.model_validate({"train_variants": {variation: _ROWS_PER_TITLE - 2}})
        writer = Writer(codes, plan, checks, build_rule_writer(codes, tabular, plan))
        yield (
            variation,
            lambda writer=writer: [
                (code, text.text) for code in drawn for texts in writer.write_code(code).texts.values() for text in texts
            ],
        )


def list_theirs(codes: CodeSet, drawn: Sequence[str]) -> Iterator[tuple[str, Write]]:
    """Yield nlpaug's augmenters as they are by default."""
    try:
        from nlpaug.augmenter.char import KeyboardAug
        from nlpaug.augmenter.word import SpellingAug
    except ImportError as error:
        sys.exit(f"{error}; pip install nlpaug gdown")
    for name, augmenter in (("nlpaug keyboard", KeyboardAug()), ("nlpaug spelling", SpellingAug())):
        yield (
            name,
            lambda augmenter=augmenter: [
                (code, text) for code in drawn for text in augmenter.augment(codes.title(code), n=_ROWS_PER_TITLE)
            ],
        )


def share_passing(codes: CodeSet, checks: RowChecks, rows: Sequence[tuple[str, str]]) -> float:
    """Return the share of rows without a fault."""
    fine = (checks.find_fault("typo", text, fold_text(text), code, "peer") is None for code, text in rows)
    return sum(fine) / len(rows)


if __name__ == "__main__":
    main()
