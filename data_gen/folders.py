"""What a folder of results may be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator


def check_folder(folder: Path) -> Path:
    """Return `folder` when it can be a folder. Raises `ValueError` where it, or what it would lie in, is a file."""
    blocked = next((path for path in (folder, *folder.parents) if path.exists() and not path.is_dir()), None)
    if blocked is not None:
        raise ValueError(f"{str(blocked)!r} is a file; choose another folder")
    return folder


FolderPath = Annotated[Path, AfterValidator(check_folder)]
"""A folder that exists or can be made."""
