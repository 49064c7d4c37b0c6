"""Which split a text belongs to: that of its patient by a seeded hash, or what a published file says."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.feather
import pyarrow.parquet as pq

from data_gen.examples import SPLITS
from icd10cm.errors import DataError

SPLIT_NAMES = {"train": "train", "training": "train", "val": "validation", "valid": "validation", "validation": "validation",
               "dev": "validation", "test": "test", "testing": "test"}  # fmt: skip
"""What files call a split, to our name for it."""

_READERS = {".feather": pa.feather.read_table, ".arrow": pa.feather.read_table, ".parquet": pq.read_table}


def draw_split(patient: str, seed: int, validation_share: float, test_share: float) -> str:
    """Return the split of a patient; the same for the same seed, whoever else there is."""
    drawn = int.from_bytes(hashlib.sha256(f"{seed} {patient}".encode()).digest()[:8]) / 2**64
    return "test" if drawn < test_share else "validation" if drawn < test_share + validation_share else "train"


def read_split_file(path: Path, ids: Mapping[str, Sequence[str]]) -> tuple[list[str], str]:
    """Return the split of each text, empty where the file does not say, and a sentence on how the file was joined.

    Args:
        path: feather, parquet or CSV with a column `split` and one of ids, whatever it is called (`_id` in Edin's).
        ids: name of a kind of id (`note_id`, `hadm_id`, `subject_id`) to that id of each text; the column and the kind with
            most texts in common are joined, of equal ones the first kind.

    Raises:
        DataError: not readable, no column `split`, an unknown split name, an id in two splits, or no id in common.
    """
    table = _read_table(path)
    if "split" not in table.column_names:
        raise DataError(f"{path}: has no column split; found {', '.join(table.column_names)}")
    names = _read_names(table["split"], path)
    joined = [
        (sum(text in keys for text in texts), -order, column, kind, keys)
        for column in table.column_names
        if column != "split" and (keys := _read_keys(table[column])) is not None
        for order, (kind, texts) in enumerate(ids.items())
    ]
    best = max(joined, key=lambda found: found[:2], default=None)
    if best is None or not best[0]:
        raise DataError(f"{path}: none of its ids is an id of the corpus ({', '.join(ids)}); is it for another version?")
    column, kind = best[2:4]
    splits: dict[str, str] = {}
    for key, name in zip(_read_keys(table[column]) or [], names, strict=True):
        if splits.setdefault(key, name) != name:
            raise DataError(f"{path}: an id of column {column} stands in two splits; give a file with one row per id")
    how = f"split by {path.name}: its column {column} joined with {kind}, {len(splits):,} ids"
    return [splits.get(key, "") for key in ids[kind]], how


def find_leaks(units: Sequence[str], splits: Sequence[str]) -> int:
    """Return how many patients (or texts) stand in more than one split; empty ones do not count."""
    first: dict[str, str] = {}
    leaks = {unit for unit, split in zip(units, splits, strict=True) if unit and first.setdefault(unit, split) != split}
    return len(leaks)


def _read_table(path: Path) -> pa.Table:
    try:
        if path.suffix in _READERS:
            return _READERS[path.suffix](path)
        return pa.csv.read_csv(path, parse_options=pa.csv.ParseOptions(delimiter="\t" if ".tsv" in path.name else ","))
    except (pa.ArrowException, OSError) as error:
        kind = type(error).__name__
        raise DataError(f"{path}: not a readable feather, parquet or CSV file ({kind}); download it again") from None


def _read_names(column: pa.ChunkedArray, path: Path) -> list[str]:
    texts = ["" if value is None else str(value).strip().lower() for value in column.to_pylist()]
    unknown = sorted(set(texts) - set(SPLIT_NAMES))
    if unknown:
        raise DataError(f"{path}: column split says {unknown[0]!r}; known: {', '.join(SPLIT_NAMES)} ({', '.join(SPLITS)})")
    return [SPLIT_NAMES[text] for text in texts]


class _Keys(list[str]):
    """Ids of a column, quick to look up."""

    def __init__(self, texts: Sequence[str]):
        super().__init__(texts)
        self._set = frozenset(texts)

    def __contains__(self, text: object) -> bool:
        return text in self._set


def _read_keys(column: pa.ChunkedArray) -> _Keys | None:
    """Return a column as ids; None where it can't be one. Numbers read as 20000001.0 are 20000001."""
    if pa.types.is_floating(column.type):
        column = pc.cast(column, pa.int64(), safe=False)
    if not (pa.types.is_integer(column.type) or pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return None
    return _Keys(["" if value is None else str(value).strip() for value in column.to_pylist()])
