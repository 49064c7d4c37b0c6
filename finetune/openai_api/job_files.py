"""Examples -> the JSON lines that a provider trains on, checked before anything is sent or paid for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import NamedTuple

from data_gen.examples import Example
from data_gen.leaving import find_clinical
from finetune.openai_api.settings import JobSettings
from finetune.openai_api.tokens import TokenCounter
from finetune.stage_data import StageData
from icd10cm.errors import ConfigError, DataError
from icd10cm.prompts import INSTRUCTION, Message, build_completion, build_prompt

LEAST_ROWS = 10
_MOST_BYTES = 512_000_000


class JobFile(NamedTuple):
    """A file to upload.

    Attributes:
        name: holds the hash of the content, so that a file already there is known by it.
        content: JSON lines.
        rows: examples in it, repeats counted.
        tokens: of all rows together.
        longest: tokens of the longest row.
    """

    name: str
    content: bytes
    rows: int
    tokens: int
    longest: int


class JobFiles(NamedTuple):
    """What a job trains on, and validates on where there is any."""

    train: JobFile
    validation: JobFile | None


def build_messages(example: Example, instruct: bool) -> list[Message]:
    """Return an example as a conversation of the chat format; `instruct` puts the instruction before it."""
    system = [{"role": "system", "content": INSTRUCTION}] if instruct else []
    return [*system, *build_prompt(example.text), *build_completion(example.codes)]


def build_files(data: StageData, settings: JobSettings, counter: TokenCounter) -> JobFiles:
    """Return both files.

    Raises:
        DataError: too few rows, an empty or too long example, a text in both files, or a file that is too large.
    """
    if len(data.train) < LEAST_ROWS:
        raise DataError(f"{settings.data}: {len(data.train)} training rows; the API wants at least {LEAST_ROWS}")
    known = {example.text.strip() for example in data.train}
    shared = [example for example in data.validation if example.text.strip() in known]
    if shared:
        raise DataError(
            f"{settings.data}: {len(shared)} validation texts are training texts too (first: {data.name_example(shared[0])}); "
            "leave them out of one, or set validation_size: 0"
        )
    validation = _build_file(data.validation, data, settings, counter) if data.validation else None
    return JobFiles(_build_file(data.train, data, settings, counter), validation)


def check_clinical_sources(data: StageData, settings: JobSettings) -> None:
    """Raise `ConfigError` where the data comes from patients and would leave this machine without leave."""
    reason = find_clinical(data.files, [*data.train, *data.validation])
    if reason:
        try:
            settings.check_clinical(reason)
        except ValueError as error:
            raise ConfigError(str(error)) from None


def _build_file(examples: Sequence[Example], data: StageData, settings: JobSettings, counter: TokenCounter) -> JobFile:
    lines, lengths = [], []
    for example in examples:
        if not example.text.strip() or not example.codes:
            lacking = "codes" if example.text.strip() else "text"
            raise DataError(f"{settings.data}: {data.name_example(example)} has no {lacking}")
        messages = build_messages(example, settings.instruct)
        lengths.append(counter.count(messages))
        if lengths[-1] > settings.max_length:
            raise DataError(
                f"{settings.data}: {data.name_example(example)} has {lengths[-1]:,} tokens ({counter.source}), more than "
                f"max_length {settings.max_length:,}; shorten it, or raise max_length to what the model takes"
            )
        lines.append(json.dumps({"messages": messages}, ensure_ascii=False) + "\n")
    content = "".join(lines).encode()
    if len(content) > _MOST_BYTES:
        raise DataError(
            f"{settings.data}: {len(content):,} bytes, and the API takes {_MOST_BYTES:,} per file; fewer scenarios or repeats"
        )
    name = f"icdtune-{hashlib.sha256(content).hexdigest()[:32]}.jsonl"
    return JobFile(name, content, len(lines), sum(lengths), max(lengths))
