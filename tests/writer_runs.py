"""Runs of the generator with a language model, and what they left behind."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow.parquet as pq
import pytest
import yaml
from api_server import ApiServer

from data_gen import generate

ROOT = Path(__file__).parent.parent
PRICES = {"as_of": "2026-11-21", "input_per_million_usd": 1.0, "output_per_million_usd": 10.0}
N = 6
"""Requests of the small config: three codes, two variations."""

ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
COST = (200 * 1.0 + 100 * 10.0) / 1e6
"""What the server's answers cost by `PRICES`."""


def write_config(folder: Path, api: ApiServer, writer: dict[str, Any] | None = None, **settings: Any) -> Path:
    """Write a config of a few codes (E11.2: three) and two variations, so `N` requests, unless `settings` say otherwise."""
    asked = {"base_url": api.url, "model": "writer", "retries": 3, "attempts": 1, "prices": PRICES, "concurrency": 4}
    content = {
        "output_dir": str(folder / "data"),
        "prefixes": ["E11.2"],
        "train_variants": {"reordered": 2, "typo": 2},
        "validation_variants": 1,
        "test_variants": 1,
        "backend": "openai",
        "writer": asked | (writer or {}),
        **settings,
    }
    path = folder / "llm.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def call(config: Path, *arguments: str, key: str = "") -> Done:
    """Run the entry in this process, which has the code set in memory already."""
    stdout, stderr = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(stdout),
        contextlib.redirect_stderr(stderr),
    ):
        patch.delenv("OPENAI_API_KEY", raising=False)
        if key:
            patch.setenv("OPENAI_API_KEY", key)
        status = generate.run(["--config", str(config), *arguments])
    return Done(status, stdout.getvalue(), stderr.getvalue())


def read_store(folder: Path, kind: str = "answer") -> list[dict[str, Any]]:
    lines = (folder / "data_answers" / "answers.jsonl").read_bytes().splitlines(keepends=True)
    records = [json.loads(line) for line in lines if line.endswith(b"\n")]
    return [record for record in records if record["kind"] == kind]


def read_rejected(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "data_answers" / "rejected.jsonl").read_text().splitlines()]


def read_rows(folder: Path) -> list[dict[str, Any]]:
    return [
        row
        for split in ("train", "validation", "test")
        for row in pq.read_table(folder / "data" / f"{split}.parquet").to_pylist()
    ]


def hash_data(folder: Path) -> list[str]:
    names = ("train.parquet", "validation.parquet", "test.parquet", "dataset_card.md")
    return [hashlib.sha256((folder / "data" / name).read_bytes()).hexdigest() for name in names]
