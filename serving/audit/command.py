"""Verify the audit log of the coding API, or show its last records.

icdtune audit verify outputs/serving/audit/audit.jsonl
icdtune audit verify outputs/serving/audit --head 5f0c…    # the whole log, oldest file first, which must hold that record
icdtune audit tail outputs/serving/audit/audit.jsonl --lines 20

`verify` exits with 1 at the first line that was changed, removed, inserted, moved or cut off, and says which.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, PositiveInt

from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry
from icd10cm.errors import ConfigError, DataError
from serving.audit.verify import verify

DEFAULT_LOG = Path("outputs/serving/audit")


class AuditSettings(Settings):
    """Which log, and what to do with it."""

    words: list[str] = Field([], description="verify or tail, then files of the log, oldest first, or its folder")
    head: str | None = Field(
        None, pattern=r"^[0-9a-f]{64}$", description="hash of a record that the log must hold: shows that it was not cut off"
    )
    lines: PositiveInt = Field(10, description="records to show")


def main(argv: Sequence[str] | None = None) -> int:
    """Verify or show; returns 1 where the log is not as it was written."""
    settings = load_settings(AuditSettings, argv, doc=__doc__ or "", prog="icdtune audit", positional="words")
    action, *names = settings.words or ["verify"]
    if action not in ("verify", "tail"):
        raise ConfigError(f"no action {action!r}; there are verify and tail, such as: icdtune audit verify {DEFAULT_LOG}")
    files = [file for name in names or [str(DEFAULT_LOG)] for file in list_files(Path(name))]
    return _verify(files, settings.head) if action == "verify" else _tail(files, settings.lines)


def list_files(path: Path) -> list[Path]:
    """Return the files of a log in their order: the file itself, or those of a folder. Raises `DataError`."""
    if not path.is_dir():
        return [path]
    # rotated files end in the number of their first record; the one being written has none
    files = sorted(path.glob("*.jsonl"), key=lambda file: (not file.stem.rpartition("-")[2].isdigit(), file.name))
    if not files:
        raise DataError(f"{path}: holds no audit log (*.jsonl)")
    return files


def _verify(files: Sequence[Path], head: str | None) -> int:
    verdict = verify(files, head)
    torn = f", {verdict.torn} torn line{'s' if verdict.torn > 1 else ''} recovered" if verdict.torn else ""
    if verdict.ok:
        print(f"ok: {verdict.n_records} records{torn}, head {verdict.head}")
        return 0
    print(
        f"not ok: {verdict.problem}\n{verdict.n_records} records before it are as they were{torn}, the last is {verdict.head}"
    )
    return 1


def _tail(files: Sequence[Path], n: int) -> int:
    last: deque[str] = deque(maxlen=n)
    for path in files:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                last.extend(file)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); give the log's file or its folder") from None
    print("".join(last).rstrip("\n"))
    return 0


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
