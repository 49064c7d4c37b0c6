"""Training rows for everyday coding: every plain name, more of the usual codes, and a rehearsal of the rest.

    python benchmarks/everyday_rows.py outputs/full_scratch/data --output outputs/full_scratch/everyday/data

Half of all codes are injuries that few coders meet, so after two stages on all of them `HTN` alone is still a rare text: names
of usual codes come three times. Usual codes are those of which the data set, by its `prior`, has the most variants. Rows are
drawn from train alone; validation and test are those of the data set.
"""

from __future__ import annotations

import argparse
import random
import shutil
from collections import Counter
from pathlib import Path

from data_gen.checks import PLAIN_NAME
from data_gen.examples import Example, read_examples, write_examples
from icd10cm.entry import run_entry, say
from icd10cm.run_header import hash_file, read_header, write_json

N_USUAL_CODES = 1500
TIMES_USUAL_NAMES = 3
N_USUAL, N_REST = 30_000, 50_000
"""Rows drawn of the usual codes and of all others; lists count as the latter."""


def main(argv: list[str] | None = None) -> None:
    """Write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of data_gen.generate")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--seed", type=int, default=13, help="of the rows drawn (default: 13)")
    arguments = parser.parse_args(argv)
    rows = choose_rows(read_examples(arguments.data / "train.parquet"), arguments.seed)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_examples(arguments.output / "train.parquet", rows)
    for name in ("validation.parquet", "test.parquet"):
        shutil.copyfile(arguments.data / name, arguments.output / name)
    hashes = {path.name: hash_file(path) for path in sorted(arguments.output.glob("*.parquet"))}
    own = {"outputs": hashes, "everyday_rows": len(rows), "drawn_from": hash_file(arguments.data / "train.parquet")}
    write_json(arguments.output / "run.json", read_header(arguments.data / "run.json") | own)
    say(f"written: {arguments.output}, {len(rows):,} training rows")


def choose_rows(rows: list[Example], seed: int) -> list[Example]:
    """Return every plain name, and some of the usual codes' rows and of all others, in the order of the file."""
    single = [row for row in rows if row.scenario not in ("multiple", "note")]
    counts = Counter(row.codes[0] for row in single)
    usual = {code for code, _ in counts.most_common(N_USUAL_CODES)}
    groups: dict[str, list[int]] = {"names": [], "usual": [], "rest": []}
    for place, row in enumerate(rows):
        if row.source == PLAIN_NAME:
            groups["names"] += [place] * (TIMES_USUAL_NAMES if row.codes[0] in usual else 1)
        elif row.scenario != "note":
            groups["usual" if row.scenario != "multiple" and row.codes[0] in usual else "rest"].append(place)
    rng = random.Random(seed)
    drawn = [rng.sample(groups[name], min(n, len(groups[name]))) for name, n in (("usual", N_USUAL), ("rest", N_REST))]
    return [rows[place] for place in sorted([*groups["names"], *drawn[0], *drawn[1]])]


def run(argv: list[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
