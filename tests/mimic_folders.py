"""Generated folders of MIMIC-IV's form, prepared in this process or by a command, and what comes of them."""

from __future__ import annotations

import csv
import gzip
import json
import shutil
import sys
from pathlib import Path

from data_gen.examples import SPLITS, Example, read_examples
from eval.corpora import mimic_shaped, prepare

FILES = [f"{split}.parquet" for split in SPLITS]


def write_shaped(folder: Path, n: int) -> Path:
    """Write a folder of `n` admissions with ten times the usual dirt; returns it."""
    size = ["--admissions", str(n), "--icd10-share", "0.6", "--dirt", "10", "--seed", "3", "--workers", "1"]
    assert mimic_shaped.run(["--output-dir", str(folder), *size]) == 0
    return folder


def prepare_corpus(folder: Path, output: Path, *more: object) -> Path:
    """Prepare in this process; returns the output folder."""
    arguments = ["--corpus", "mimic_iv", "--folder", folder, "--output-dir", output, *more]
    assert prepare.run([str(argument) for argument in arguments]) == 0
    return output


def write_command(folder: Path, output: Path) -> list[str]:
    """Return the command that prepares in a process of its own."""
    words = ("-m", "eval.corpora.prepare", "--corpus", "mimic_iv", "--folder", str(folder), "--output-dir", str(output))
    return [sys.executable, *words]


def read_all(folder: Path) -> list[Example]:
    return [example for name in FILES for example in read_examples(folder / name)]


def read_counts(folder: Path) -> dict[str, dict[str, int]]:
    return json.loads((folder / "run.json").read_text())["counts"]


def read_csv(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def copy_table(shaped: Path, folder: Path, name: str, lines: bytes | None = None) -> Path:
    """Copy the folder with one table replaced by what is given; returns that table."""
    shutil.copytree(shaped, folder, dirs_exist_ok=True)
    path = next(folder.rglob(f"{name}.csv.gz"))
    if lines is not None:
        path.write_bytes(lines)
    return path
