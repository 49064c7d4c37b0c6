"""Run headers: what a product was made from, written in one step and refused when it is not one."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import pytest

from icd10cm import run_header
from icd10cm.errors import DataError
from icd10cm.prompts import PROMPT_VERSION
from icd10cm.run_header import SCHEMA_VERSION, build_header, hash_file, read_header, write_json, write_text

ROOT = Path(__file__).parent.parent


def test_header_says_what_a_product_was_made_from(tmp_path: Path) -> None:
    source = tmp_path / "train.jsonl"
    source.write_bytes(b"{}\n")
    header = build_header(
        "data_gen.generate",
        {"seed": 13, "folder": tmp_path},
        [source, tmp_path / "absent"],
        release="2026",
        counts={"train": 1},
    )
    assert (header["schema_version"], header["stage"], header["release"]) == (SCHEMA_VERSION, "data_gen.generate", "2026")
    assert header["settings"] == {"seed": 13, "folder": str(tmp_path)}
    assert (
        header["inputs"] == {str(source): hashlib.sha256(b"{}\n").hexdigest()}
        and hash_file(source) in header["inputs"].values()
    )
    assert header["prompt_version"] == PROMPT_VERSION and header["argv"] == sys.argv and header["counts"] == {"train": 1}
    assert header["packages"]["simple-icd-10-cm"] == importlib.metadata.version("simple-icd-10-cm")
    write_json(tmp_path / "new" / "run.json", header)
    assert read_header(tmp_path / "new" / "run.json") == header


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a git checkout")
def test_header_names_the_commit() -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    run_header._read_git_state.cache_clear()
    header = build_header("x", {})
    assert header["git_commit"] == head and isinstance(header["git_dirty"], bool)


def test_header_without_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    run_header._read_git_state.cache_clear()
    try:
        header = build_header("x", {})
    finally:
        run_header._read_git_state.cache_clear()
    assert header["git_commit"] is None and header["git_dirty"] is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read"),
        (b"", "not valid JSON"),
        (b'{"schema_version": 1', "not valid JSON"),
        (b"\xff\xfe", "not valid JSON"),
        (b"[]", "not a run header of schema version 1"),
        (b'{"schema_version": 2}', "not a run header of schema version 1"),
        (b'{"stage": "x"}', "not a run header of schema version 1"),
    ],
)
def test_what_is_no_header_is_refused_by_name(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "run.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_header(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_files_are_written_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "scores.json"
    write_json(path, {"title": "Sjögren", "n": 1})
    assert json.loads(path.read_text(encoding="utf-8")) == {"title": "Sjögren", "n": 1}
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "half a file \ud800")
    assert json.loads(path.read_text(encoding="utf-8"))["n"] == 1
    assert list(path.parent.iterdir()) == [path]
