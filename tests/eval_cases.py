"""Predictions by hand, for the tests of eval."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.predictions import Prediction, ScoredCode, write_line
from icd10cm.run_header import build_header, write_json

ROOT = Path(__file__).parent.parent


def predict(
    right: str, written: str = "", *, id: str = "1", scenario: str = "typo", status: str = "ok", rejected: Sequence[str] = ()
) -> Prediction:
    """Return a prediction; codes are separated by blanks."""
    scored = tuple(ScoredCode(code, -0.1) for code in written.split())
    return Prediction(id, scenario, tuple(right.split()), scored, written, status, tuple(rejected))


def write_run(folder: Path, predictions: Sequence[Prediction], **facts: Any) -> Path:
    """Write a predictions file and its run.json; returns the former."""
    folder.mkdir(parents=True, exist_ok=True)
    known = {"label": folder.name, "engine": "transformers", "model": "model", "constrained": True, "data": "test.parquet"}
    header = build_header("eval.predict", {"max_tokens": 64}, release="2026", **(known | facts))
    write_json(folder / "run.json", header)
    path = folder / "predictions.jsonl"
    path.write_text("".join(map(write_line, predictions)), encoding="utf-8")
    return path


def run_module(module: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run an entry as a user does."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)


def assert_refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Assert that an entry refused its input in one line that has all `parts`, with exit status 2."""
    assert done.returncode == 2, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert part in lines[0], (part, lines[0])
