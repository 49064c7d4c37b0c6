"""Examples with their texts, written split by split without holding all texts at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from data_gen.examples import SCHEMA, SPLITS, Example
from data_gen.restricted import mark_schema
from eval.corpora.assemble import Placed
from eval.corpora.records import Ledger
from eval.corpora.splits import find_leaks

_ROWS = 1024
"""Rows of a row group: some ten MB of notes."""


def write_splits(folder: Path, placed: Sequence[Placed], texts: Path, restricted: bool, ledger: Ledger) -> dict[str, Path]:
    """Write `train`, `validation` and `test.parquet` and return their paths.

    Args:
        folder: where to.
        placed: sorted by row.
        texts: parquet file with the column `text`, of which `placed` names rows.
        restricted: whether the files are to say that their texts may not be shown.
        ledger: counts texts that stand in two splits, and characters.
    """
    paths = {split: folder / f"{split}.parquet" for split in SPLITS}
    schema = mark_schema(SCHEMA) if restricted else SCHEMA
    writers = {split: pq.ParquetWriter(path, schema, compression="zstd") for split, path in paths.items()}
    held: dict[str, list[Example]] = {split: [] for split in SPLITS}
    digests: list[str] = []
    try:
        for one, text in zip(
            tqdm(placed, desc="writing", unit=" texts", mininterval=1, delay=1), _pick(placed, texts), strict=True
        ):
            example = one.example._replace(text=text)
            digests.append(hashlib.blake2b(text.encode(), digest_size=12).hexdigest())
            ledger.count("characters", example.split, len(text))
            waiting = held[example.split]
            waiting.append(example)
            if len(waiting) == _ROWS:
                writers[example.split].write_table(_build_table(waiting, schema))
                waiting.clear()
        for split, waiting in held.items():
            if waiting:
                writers[split].write_table(_build_table(waiting, schema))
    finally:
        for writer in writers.values():
            writer.close()
    ledger.count("leaks", "texts in more than one split", find_leaks(digests, [one.example.split for one in placed]))
    return paths


def _pick(placed: Sequence[Placed], texts: Path) -> Iterator[str]:
    """Yield the staged text of each example; the file is read once, in order."""
    start, place = 0, 0
    with pq.ParquetFile(texts) as file:
        for batch in file.iter_batches(batch_size=_ROWS, columns=["text"]):
            end = start + len(batch)
            column = batch.column(0)
            while place < len(placed) and placed[place].row < end:
                yield column[placed[place].row - start].as_py()
                place += 1
            start = end


def _build_table(examples: Sequence[Example], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*examples, strict=True)) or [()] * len(schema)
    return pa.Table.from_arrays(
        [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )
