"""Examples -> token ids and labels, in batches, kept by the hash of what they were made from.

TRL tokenises one example after another in every run; here a tokenizer's batches do it (over ten times the rows per second),
and the result is read back from the cache folder when the same examples meet the same tokenizer again.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from data_gen.examples import Example
from icd10cm.embedded import find_cache_folder
from icd10cm.prompts import PROMPT_VERSION, build_completion, build_prompt

if TYPE_CHECKING:
    from datasets import Dataset

IGNORED = -100
"""The label of a token that is not learned."""

_ROWS_AT_ONCE = 4096
_FEWEST_KEPT = 20_000
_FORMAT = 1


def load_tokens(examples: Sequence[Example], tokenizer: Any, keep: bool = True) -> Dataset:
    """Return a dataset with `input_ids` and `labels` of each example, in order.

    A set of many examples is kept in the user's cache folder (`ICDTUNE_CACHE`), and mapped from there into memory; with
    `keep` false, as for restricted texts, it is only in memory.
    """
    from datasets import load_from_disk

    if not keep or len(examples) < _FEWEST_KEPT:
        return _build_dataset(examples, tokenizer)
    folder = find_cache_folder() / f"tokens-{_FORMAT}-{hash_rows(examples, tokenizer)}"
    if not (folder / "state.json").is_file():
        _write(folder, _build_dataset(examples, tokenizer))
    return load_from_disk(str(folder))


def tokenize(examples: Sequence[Example], tokenizer: Any) -> Iterator[tuple[list[int], list[int]]]:
    """Yield token ids and labels of each example; what the prompt and the whole share at their start is not learned."""
    prompts = [build_prompt(example.text) for example in examples]
    wholes = [prompt + build_completion(example.codes) for prompt, example in zip(prompts, examples, strict=True)]
    rendered = (
        tokenizer.apply_chat_template(prompts, tokenize=False, add_generation_prompt=True),
        tokenizer.apply_chat_template(wholes, tokenize=False),
    )
    ids = (tokenizer(texts, add_special_tokens=False, return_attention_mask=False)["input_ids"] for texts in rendered)
    for prompt, whole in zip(*ids, strict=True):
        shared = next((place for place, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), len(prompt))
        yield whole, [IGNORED] * shared + whole[shared:]


def hash_rows(examples: Sequence[Example], tokenizer: Any) -> str:
    """Return the sha256 of the texts and codes, the tokenizer, its chat template and the prompts."""
    digest = hashlib.sha256(json.dumps([PROMPT_VERSION, tokenizer.chat_template, build_prompt("")]).encode())
    digest.update(tokenizer.backend_tokenizer.to_str().encode())
    for example in examples:
        digest.update(json.dumps((example.text, example.codes)).encode())
    return digest.hexdigest()


def _build_dataset(examples: Sequence[Example], tokenizer: Any) -> Dataset:
    import pyarrow as pa
    from datasets import Dataset

    schema = pa.schema([(name, pa.list_(pa.int32())) for name in ("input_ids", "labels")])
    tables = [schema.empty_table()]
    starts = range(0, len(examples), _ROWS_AT_ONCE)
    for start in tqdm(starts, desc="tokens", unit=" batches", leave=False, disable=len(examples) < _FEWEST_KEPT):
        rows = tokenize(examples[start : start + _ROWS_AT_ONCE], tokenizer)
        tables.append(pa.table(dict(zip(schema.names, map(list, zip(*rows, strict=True)), strict=True)), schema))
    return Dataset(pa.concat_tables(tables))


def _write(folder: Path, rows: Dataset) -> None:
    """Write the rows in one step: a folder with `state.json` is whole."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".tokens-") as scratch:
        rows.save_to_disk(f"{scratch}/whole")
        shutil.rmtree(folder, ignore_errors=True)
        Path(scratch, "whole").rename(folder)
