"""What `icdtune code` is to code: a phrase, the lines of a file or of standard input, or JSON lines with more about each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from icd10cm.entry import say
from icd10cm.errors import ConfigError, DataError
from icd10cm.text_lines import open_lines
from serving.coding.models import CodingRequest

_ENDINGS = (".txt", ".jsonl", ".json")


def read_requests(phrase: str | None, file: Path | None, options: dict[str, Any]) -> list[CodingRequest]:
    """Return what is to be coded.

    Args:
        phrase: a text, or the name of a file.
        file: of one text per line, or with the ending `.jsonl` of one JSON object: `text`, and what else `CodingRequest` has.
        options: what holds for every text that does not say itself.

    Raises:
        ConfigError: there is nothing to code.
        DataError: a file cannot be read, or a line is none that can be coded; names the line.
    """
    if phrase is not None and file is not None:
        raise ConfigError("give a phrase or --file, not both")
    if phrase is not None and file is None and _names_file(phrase):
        file = Path(phrase)
    if file is not None:
        return list(_read_lines(str(file), open_lines(file), file.suffix == ".jsonl", options))
    if phrase is not None:
        return [_build(phrase.strip(), {"text": phrase.strip()}, options, "command line")]
    if sys.stdin.isatty():
        say('reading one phrase per line, end with Ctrl-D (or: icdtune code "T2DM w/ foot ulcer")')
    return list(_read_lines("standard input", sys.stdin, False, options))


def _read_lines(source: str, lines: Iterable[str], is_json: bool, options: dict[str, Any]) -> Iterator[CodingRequest]:
    empty = True
    for number, line in enumerate(lines, 1):
        text = line.strip().lstrip("\ufeff")
        if not text:
            continue
        empty = False
        where = f"{source}, line {number}"
        yield _build(text, _read_object(text, where) if is_json else {"text": text}, options, where)
    if empty:
        raise ConfigError(
            f'{source}: nothing to code: give a phrase (icdtune code "T2DM w/ foot ulcer"), or one phrase per line'
        )


def _read_object(text: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(text)
    except ValueError as error:
        raise DataError(f"{where}: not valid JSON ({error})") from None
    if not isinstance(row, dict) or "text" not in row:
        raise DataError(f'{where}: needs an object with "text"')
    return row


def _build(text: str, row: dict[str, Any], options: dict[str, Any], where: str) -> CodingRequest:
    try:
        return CodingRequest.model_validate({**options, **row})
    except ValidationError as error:
        # what stands in the row is clinical text, so only its keys are named
        problems = (f"{'.'.join(map(str, one['loc'])) or 'text'}: {one['msg']}" for one in error.errors())
        raise DataError(f"{where}: {'; '.join(problems)}") from None


def _names_file(phrase: str) -> bool:
    if phrase.endswith(_ENDINGS) and "\n" not in phrase and " " not in phrase.strip():
        return True
    try:
        return len(phrase) < 4096 and Path(phrase).is_file()
    except (OSError, ValueError):
        return False
