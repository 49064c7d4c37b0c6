"""What to do when the output folder holds a run already: go on, start over or stop, and never mix two configurations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

from icd10cm.errors import ConfigError
from icd10cm.run_header import read_header

# Where a run writes and how it reports change nothing about the weights it ends with.
_FREE_KEYS = frozenset({"on_existing", "dry_run", "output_dir"})


class PreviousRun(NamedTuple):
    """What is there: the last whole checkpoint to resume from, or a finished run."""

    checkpoint: Path | None
    finished: bool


def settle_previous_run(
    folder: Path, policy: str, settings: dict[str, Any], inputs: dict[str, str], entry: str | None = None
) -> PreviousRun:
    """Look at `folder` and apply `policy`: `resume`, `delete` or `stop`.

    Args:
        folder: where the run writes.
        policy: what to do with an earlier run.
        settings: of this run.
        inputs: file to sha256, of this run.
        entry: such as `finetune.sft`; a folder that another entry or something else filled is then refused, even by `delete`.

    Raises:
        ConfigError: the folder holds a run and the policy is `stop`, or it was made with other settings or data, or it holds
            something else.
    """
    header_path = folder / "run.json"
    if not header_path.is_file():
        if entry:
            check_empty(folder)
        return PreviousRun(None, False)
    if entry and (owner := read_header(header_path).get("stage")) != entry:
        raise ConfigError(f"{folder}: holds what {owner} wrote, not a run of {entry}; choose another output_dir")
    if policy == "stop":
        raise ConfigError(f"{folder}: holds a run already; choose another output_dir, or on_existing resume or delete")
    if policy == "delete":
        shutil.rmtree(folder)
        return PreviousRun(None, False)
    header = read_header(header_path)
    changed = _name_changes(header["settings"], settings) + _name_changes(header["inputs"], inputs)
    if changed:
        raise ConfigError(
            f"{folder}: holds a run made with other settings: {'; '.join(changed)}; "
            "change them back, choose another output_dir, or say on_existing delete"
        )
    return PreviousRun(find_last_checkpoint(folder), bool(header.get("finished")))


def check_empty(folder: Path) -> None:
    """Raise `ConfigError` where `folder` is a file or holds anything but hidden files."""
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder}: is a file; choose another output_dir")
    held = sorted(path.name for path in folder.glob("[!.]*"))
    if held:
        named = ", ".join(held[:3]) + (", ..." if len(held) > 3 else "")
        raise ConfigError(f"{folder}: holds something else already ({named}) and no run.json; choose another output_dir")


def find_last_checkpoint(folder: Path) -> Path | None:
    """Return the newest checkpoint that was written to its end: the trainer's state is the last file of each."""
    numbered = sorted(
        (path for path in folder.glob("checkpoint-*") if path.name.partition("-")[2].isdigit()),
        key=lambda path: int(path.name.partition("-")[2]),
    )
    for path in reversed(numbered):
        try:
            json.loads((path / "trainer_state.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
        return path
    return None


def _name_changes(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    plain = json.loads(json.dumps(now, default=str))
    keys = sorted((before.keys() | plain.keys()) - _FREE_KEYS)
    return [
        f"{key} was {_shorten(before.get(key))}, is {_shorten(plain.get(key))}"
        for key in keys
        if before.get(key) != plain.get(key)
    ]


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
