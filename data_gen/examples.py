"""Example: one text with the codes it stands for; read and written as parquet or JSONL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.json
import pyarrow.parquet as pq

from icd10cm.errors import DataError

SCENARIOS = ("base", "near_title", "reordered", "abbreviated", "typo", "multiple", "paraphrased", "mixed", "note")
"""What a test set measures, in the order every table shows; no rule writes `near_title` (a title but for a word or two)."""

SCENARIO_ALIASES = {"reorder": "reordered", "paraphrase": "paraphrased", "abbreviation": "abbreviated", "notes": "note"}
"""What others call a scenario, to our name for it; read from data files, never written."""

SPLITS = ("train", "validation", "test")


class Example(NamedTuple):
    """One row of a data set.

    Attributes:
        id: unique within the data set, stable for the same config and seed.
        scenario: one of `SCENARIOS`.
        text: what a clinician writes.
        codes: dotted billable codes, principal diagnosis first.
        split: one of `SPLITS`.
        source: who wrote the text, such as `cms` or `rules:typo`.
        release: release of the code set the codes are valid in.
        held_out: what train lacks: `variant` (this text), `code` (every variant of one of the codes); empty in train.
        patient: whom the text is about, where texts share patients: splits and intervals go by patient; may be empty.
        attributes: (name, value) of what scores may be broken down by, such as sex or age group, sorted by name.
    """

    id: str
    scenario: str
    text: str
    codes: tuple[str, ...]
    split: str
    source: str
    release: str
    held_out: str = ""
    patient: str = ""
    attributes: tuple[tuple[str, str], ...] = ()


_TYPES = {"codes": pa.list_(pa.string()), "attributes": pa.map_(pa.string(), pa.string())}
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in Example._fields])


def write_examples(path: Path, examples: Iterable[Example]) -> None:
    """Write examples as parquet, or as JSONL when the name ends in `.jsonl`; the same examples give the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.tmp")
    if path.suffix == ".jsonl":
        rows = (example._asdict() | {"attributes": dict(example.attributes)} for example in examples)
        scratch.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    else:
        columns = list(zip(*examples, strict=True)) or [()] * len(SCHEMA)
        arrays = [pa.array(column, field.type) for column, field in zip(columns, SCHEMA, strict=True)]
        pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), scratch, compression="zstd")
    scratch.replace(path)


def read_examples(path: Path) -> list[Example]:
    """Read examples from parquet or JSONL; what follows `codes` in `Example` may be absent and is then empty.

    Raises:
        DataError: the file is missing or broken, or lacks one of `id`, `scenario`, `text`, `codes`.
    """
    try:
        table = pa.json.read_json(path) if path.suffix in (".jsonl", ".json") else pq.read_table(path)
    except FileNotFoundError:
        raise DataError(f"{path}: no such data file; `python -m data_gen.generate --config …` writes one") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable parquet or JSONL file ({' '.join(str(error).split())})") from None
    absent = [name for name in ("id", "scenario", "text", "codes") if name not in table.column_names]
    if absent:
        raise DataError(f"{path}: has no column {', '.join(absent)}; found: {', '.join(table.column_names)}")
    return [_build_example(row) for row in table.to_pylist()]


def group_by_scenario(examples: Sequence[Example]) -> dict[str, list[Example]]:
    """Return the examples of each scenario that occurs, in the order of `SCENARIOS`."""
    groups = {scenario: [e for e in examples if e.scenario == scenario] for scenario in SCENARIOS}
    return {scenario: group for scenario, group in groups.items() if group}


def _build_example(row: dict) -> Example:
    scenario = SCENARIO_ALIASES.get(row["scenario"], row["scenario"])
    optional = {name: row.get(name) or "" for name in ("split", "source", "release", "held_out", "patient")}
    found = row.get("attributes") or {}
    pairs = found.items() if isinstance(found, dict) else found
    attributes = tuple(sorted((name, str(value)) for name, value in pairs if value is not None))
    return Example(row["id"], scenario, row["text"], tuple(row["codes"] or ()), **optional, attributes=attributes)
