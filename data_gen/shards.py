"""One data set from several jobs: each writes the variants of its share of the codes, and one more joins the parts.

The data are the same as from one job. A part is a parquet file in a folder beside `output_dir`; it names what it was made
from, so that parts of different settings, releases or files are never joined.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BeforeValidator

from data_gen.plan import Plan
from data_gen.variations import VARIATIONS
from data_gen.writing import Variants, build_text
from icd10cm.codeset import CodeSet
from icd10cm.errors import DataError
from icd10cm.run_header import hash_file

_SCHEMA = pa.schema([(name, pa.string()) for name in ("code", "variation", "text", "source")])
_FACTS = b"icdtune"
_NAME = re.compile(r"(\d+)-of-(\d+)\.parquet")
_ROWS_AT_ONCE = 1 << 17


class ShardNumber(NamedTuple):
    """Which of how many equal parts, counted from 1."""

    number: int
    total: int

    def __str__(self) -> str:
        return f"{self.number}/{self.total}"

    def select(self, codes: Sequence[str]) -> Sequence[str]:
        """Return the codes of this part: every `total`-th, so that all parts take about as long."""
        return codes[self.number - 1 :: self.total]


def read_shard_number(value: Any) -> Any:
    """Return `2/4` as a `ShardNumber`. Raises `ValueError`."""
    if value is None or isinstance(value, ShardNumber):
        return value
    found = re.fullmatch(r"(\d+)/(\d+)", str(value))
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"{value!r} is no part such as 1/4, 2/4, 3/4 or 4/4")
    return ShardNumber(int(found[1]), int(found[2]))


Shard = Annotated[ShardNumber | None, BeforeValidator(read_shard_number)]


class ShardFolder:
    """The parts of one data set.

    Args:
        output_dir: folder of the data set; the parts lie beside it, in a folder with `_shards` behind its name.
        codeset: the release.
        codes: the codes of the whole data set.
        plan: what the data set holds.
    """

    def __init__(self, output_dir: Path, codeset: CodeSet, codes: Sequence[str], plan: Plan) -> None:
        self.folder = output_dir.with_name(f"{output_dir.name}_shards")
        self._codes = codes
        self._made_from = hash_origin(codeset, codes, plan)

    def find_path(self, shard: ShardNumber) -> Path:
        """Return the file of a part."""
        return self.folder / f"{shard.number}-of-{shard.total}.parquet"

    def holds(self, shard: ShardNumber) -> bool:
        """Whether a part is there, whole and of this data set."""
        path = self.find_path(shard)
        return path.is_file() and _read_facts(path).get("made_from") == self._made_from

    def write(self, shard: ShardNumber, variants: Variants) -> Path:
        """Write a part in one step."""
        path = self.find_path(shard)
        path.parent.mkdir(parents=True, exist_ok=True)
        facts = {"made_from": self._made_from, "rejected": dict(variants.rejected)}
        scratch = path.with_name(f".{path.name}.tmp")
        schema = _SCHEMA.with_metadata({_FACTS: json.dumps(facts).encode()})
        try:
            with pq.ParquetWriter(scratch, schema, compression="zstd") as writer:
                for columns in _list_columns(variants):
                    writer.write_table(
                        pa.Table.from_arrays([pa.array(column, pa.string()) for column in columns], schema=schema)
                    )
            scratch.replace(path)
        finally:
            scratch.unlink(missing_ok=True)
        return path

    def read_all(self) -> Variants:
        """Return the variants of every code.

        Raises:
            DataError: a part is missing, broken, or of another data set.
        """
        paths = self._list_parts()
        variants = Variants({name: {code: [] for code in self._codes} for name in VARIATIONS}, Counter())
        for path in paths:
            facts = _read_facts(path)
            if facts.get("made_from") != self._made_from:
                raise DataError(f"{path}: was made with other settings, codes or files; write this part again with --shard")
            variants.rejected.update(facts["rejected"])
            for batch in pq.ParquetFile(path).iter_batches(_ROWS_AT_ONCE):
                for code, variation, text, source in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                    variants.texts[variation][code].append(build_text(text, source))
        return variants

    def _list_parts(self) -> list[Path]:
        found = {}
        for path in sorted(self.folder.glob("*.parquet")):
            if name := _NAME.fullmatch(path.name):
                found[ShardNumber(int(name[1]), int(name[2]))] = path
        totals = sorted({shard.total for shard in found})
        if len(totals) != 1:
            what = (
                f"has parts of {' and of '.join(map(str, totals))}; remove those of one"
                if totals
                else "has no part; write them with --shard 1/4 …"
            )
            raise DataError(f"{self.folder}: {what}")
        missing = [str(shard) for n in range(1, totals[0] + 1) if (shard := ShardNumber(n, totals[0])) not in found]
        if missing:
            raise DataError(f"{self.folder}: lacks {', '.join(missing)}; write what is missing with --shard")
        return [found[shard] for shard in sorted(found)]


def hash_origin(codeset: CodeSet, codes: Sequence[str], plan: Plan) -> str:
    """Return the sha256 of all that the variants depend on: the plan but for `workers`, codes, titles and files read."""
    settings = plan.model_dump(include=set(Plan.model_fields) - {"workers"})
    origin = {
        "settings": json.dumps(settings, default=_hash_path, sort_keys=True),
        "codes": [(code, codeset.title(code)) for code in codes],
        "release": codeset.release,
        "version": importlib.metadata.version("icdtune"),
    }
    return hashlib.sha256(json.dumps(origin).encode()).hexdigest()


def _hash_path(value: Any) -> str:
    return hash_file(value) if isinstance(value, Path) else str(value)


def _list_columns(variants: Variants) -> Iterator[tuple[list[str], ...]]:
    """Yield the columns of one variation after another."""
    for variation, by_code in variants.texts.items():
        rows = [(code, variation, text.text, text.source) for code, texts in by_code.items() for text in texts]
        yield tuple(map(list, zip(*rows, strict=True))) if rows else ([], [], [], [])


def _read_facts(path: Path) -> dict[str, Any]:
    try:
        metadata = pq.read_schema(path).metadata or {}
        return json.loads(metadata.get(_FACTS, b"{}"))
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: not a readable part ({' '.join(str(error).split())}); write it again with --shard") from None
