"""Training rows for everyday coding: what wards see, twice as many texts of it as stage 2 had, and a rehearsal of the rest.

With `--names`, for a short last training: plain names (`HTN`), those of usual codes three times, and a rehearsal of everything.

    python benchmarks/everyday_rows.py outputs/full_scratch/everyday/fresh --held-out outputs/full_scratch/data \\
      --output outputs/full_scratch/everyday/data

`benchmarks/full_scale.sh cpu everyday` writes both data sets, the fresh one by the same configuration and seed.
Half of all codes are injuries that few coders meet. Codes that wards see are those of two training lists or more, by the
`prior` of the data set; all their texts come, and the plain names (`HTN`) of the most usual ones three times. Which texts are
held out hardly depends on how many are written: rows that the other data set holds out after all are left out, and validation
and test are its.
"""

from __future__ import annotations

import argparse
import random
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_gen.checks import PLAIN_NAME
from data_gen.examples import Example, read_examples, write_examples
from data_gen.folding import fold_text
from icd10cm.conditions import split_conditions
from icd10cm.entry import run_entry, say
from icd10cm.run_header import hash_file, read_header, write_json

FEWEST_LISTS = 2
"""Training lists that a code is in from which wards see it."""
N_USUAL_CODES = 1500
TIMES_USUAL_NAMES = 3
N_REST = 300_000
"""Rows drawn of the codes that wards hardly see."""
N_REHEARSED = 80_000
"""Rows drawn of everything beside plain names, with `--names`."""
HELD_OUT_FILES = ("validation.parquet", "test.parquet")


def main(argv: list[str] | None = None) -> None:
    """Write the rows."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of data_gen.generate, whose training rows are chosen from")
    parser.add_argument("--held-out", type=Path, required=True, help="such a folder, whose held-out texts stay so")
    parser.add_argument("--output", type=Path, required=True, help="folder to write")
    parser.add_argument("--names", action="store_true", help="plain names and a rehearsal alone")
    parser.add_argument("--seed", type=int, default=13, help="of the rows drawn (default: 13)")
    arguments = parser.parse_args(argv)
    files = [arguments.held_out / name for name in HELD_OUT_FILES]
    held_out = [row for file in files for row in read_examples(file)]
    choose = choose_names if arguments.names else choose_rows
    chosen = choose(drop_held_out(read_examples(arguments.data / "train.parquet"), held_out), arguments.seed)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_examples(arguments.output / "train.parquet", chosen)
    for file in files:
        shutil.copyfile(file, arguments.output / file.name)
    hashes = {path.name: hash_file(path) for path in sorted(arguments.output.glob("*.parquet"))}
    own = {"outputs": hashes, "everyday_rows": len(chosen), "drawn_from": hash_file(arguments.data / "train.parquet")}
    write_json(arguments.output / "run.json", read_header(arguments.data / "run.json") | own)
    say(f"written: {arguments.output}, {len(chosen):,} training rows")


def drop_held_out(rows: list[Example], held_out: list[Example]) -> list[Example]:
    """Return the rows that are no held-out text and have none among their conditions; titles are everybody's."""
    texts = {fold_text(row.text) for row in held_out if row.scenario != "base"}
    return [
        row
        for row in rows
        if row.scenario == "base"
        or texts.isdisjoint(map(fold_text, split_conditions(row.text) if row.scenario == "multiple" else [row.text]))
    ]


def choose_rows(rows: list[Example], seed: int) -> list[Example]:
    """Return plain names, lists, the texts of the codes that wards see and some of all others, in the order of the file."""
    lists = Counter(code for row in rows if row.scenario == "multiple" for code in row.codes)
    chosen, others = _tell_names(rows)
    rest: list[int] = []
    for place in others:
        is_seen = rows[place].scenario == "multiple" or lists[rows[place].codes[0]] >= FEWEST_LISTS
        (chosen if is_seen else rest).append(place)
    return _draw(rows, chosen, rest, N_REST, seed)


def choose_names(rows: list[Example], seed: int) -> list[Example]:
    """Return plain names and some of all other texts, in the order of the file."""
    names, others = _tell_names(rows)
    return _draw(rows, names, others, N_REHEARSED, seed)


def _tell_names(rows: Sequence[Example]) -> tuple[list[int], list[int]]:
    """Return the places of plain names, as often as they are wanted, and those of all other rows but notes."""
    counts = Counter(row.codes[0] for row in rows if row.scenario not in ("multiple", "note"))
    usual = {code for code, _ in counts.most_common(N_USUAL_CODES)}
    names: list[int] = []
    others: list[int] = []
    for place, row in enumerate(rows):
        if row.source == PLAIN_NAME:
            names += [place] * (TIMES_USUAL_NAMES if row.codes[0] in usual else 1)
        elif row.scenario != "note":
            others.append(place)
    return names, others


def _draw(rows: Sequence[Example], chosen: Sequence[int], rest: Sequence[int], size: int, seed: int) -> list[Example]:
    """Return the chosen rows and `size` of the rest, in the order of the file."""
    drawn = random.Random(seed).sample(rest, min(size, len(rest)))
    return [rows[place] for place in sorted([*chosen, *drawn])]


def run(argv: list[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
