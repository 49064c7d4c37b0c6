"""What a folder of results may be, and how it is filled: whole or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator

from icd10cm.entry import interrupt_when_terminated


def check_folder(folder: Path) -> Path:
    """Return `folder` when it can be a folder. Raises `ValueError` where it, or what it would lie in, is a file."""
    blocked = next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
    if blocked is not None:
        raise ValueError(f"{str(blocked)!r} is a file; choose another folder")
    return folder


FolderPath = Annotated[Path, AfterValidator(check_folder)]
"""A folder that exists or can be made."""


@contextmanager
def open_folder(folder: Path) -> Iterator[Path]:
    """Give a scratch folder whose files are moved into `folder` once all of them are whole, `run.json` last.

    A folder with `run.json` is complete. Ctrl-C and SIGTERM remove the scratch folder; `kill -9` leaves it, and the next run
    removes it.
    """
    scratch = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(scratch, ignore_errors=True)
    with interrupt_when_terminated():
        try:
            scratch.mkdir(parents=True)
            yield scratch
            if not folder.exists():
                scratch.rename(folder)
                return
            (folder / "run.json").unlink(missing_ok=True)
            for path in sorted(scratch.iterdir(), key=lambda path: path.name == "run.json"):
                path.replace(folder / path.name)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
