"""Loading a folder of MIMIC-IV's size beside a straightforward pandas program: wall time, CPU time and peak memory.

    python benchmarks/mimic_loading.py
    python benchmarks/mimic_loading.py --folder outputs/mimic_shaped
    python benchmarks/mimic_loading.py --admissions 20000

Without `--folder` a folder is generated first: 424,000 admissions give 330,000 notes (3 GB) and 6 million diagnoses, as
MIMIC-IV has (10 GB of disk at most, deleted at the end). Then both run in turn in processes of their own: read notes,
diagnoses, patients and admissions, keep ICD-10, put in dots, carry retired codes forward, drop duplicates and what has no place
in the release, one note per admission, join, split by patient, write three parquet files. Memory is the resident size of the
process and its children, looked at twenty times a second. The numbers of texts and labels must be the same in both.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

ROOT = Path(__file__).parent.parent
TABLES = {"diagnoses_icd": "hosp", "patients": "hosp", "admissions": "hosp", "discharge": "note"}


def main() -> None:
    """Measure both and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="folder of MIMIC-IV's form; generated when left out")
    parser.add_argument("--admissions", type=int, default=424_000, help="how many to generate")
    parser.add_argument("--scratch", type=Path, help="where to generate and write; the system's temporary folder when left out")
    parser.add_argument("--pandas-into", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.pandas_into:
        load_with_pandas(arguments.folder, arguments.pandas_into)
        return
    with tempfile.TemporaryDirectory(dir=arguments.scratch) as name:
        scratch = Path(name)
        folder = arguments.folder or scratch / "mimic"
        if not arguments.folder:
            size = ["--admissions", str(arguments.admissions), "--codes-per-admission", "15.6"]
            subprocess.run(
                [sys.executable, "-m", "eval.corpora.mimic_shaped", "--output-dir", folder, *size], cwd=ROOT, check=True
            )
        print(describe_folder(folder), flush=True)
        measure(["-c", "import duckdb, pandas"])  # the files of the packages come from memory for both
        ours = measure(
            ["-m", "eval.corpora.prepare", "--corpus", "mimic_iv", "--folder", folder, "--output-dir", scratch / "ours"]
        )
        print_row("eval.corpora.prepare", ours)
        theirs = measure([__file__, "--folder", folder, "--pandas-into", scratch / "pandas"])
        print_row("pandas", theirs)
        print(f"pandas / ours: {', '.join(f'{what} {theirs[what] / ours[what]:.1f}' for what in ours)}")
        counts = [count_examples(scratch / name) for name in ("ours", "pandas")]
        print(f"texts, labels, patients: {counts[0]}; the same in both: {counts[0] == counts[1]}")


def measure(words: list[Any]) -> dict[str, float]:
    """Run Python in a process of its own; return seconds, CPU seconds and the peak of its and its children's memory in GB."""
    import psutil

    started = time.monotonic()
    process = subprocess.Popen([sys.executable, *map(str, words)], cwd=ROOT, stderr=subprocess.PIPE)
    watched, peak = psutil.Process(process.pid), 0
    while True:
        done, status, usage = os.wait4(process.pid, os.WNOHANG)
        if done:
            break
        with contextlib.suppress(psutil.Error):
            peak = max(peak, sum(one.memory_info().rss for one in (watched, *watched.children(recursive=True))))
        time.sleep(0.05)
    seconds = time.monotonic() - started
    assert process.stderr is not None
    if status:
        raise SystemExit(process.stderr.read().decode())
    return {"seconds": seconds, "CPU seconds": usage.ru_utime + usage.ru_stime, "GB": max(peak, usage.ru_maxrss * 1024) / 1e9}


def print_row(name: str, measured: dict[str, float]) -> None:
    """Print what was measured of one program."""
    print(f"{name:22}{', '.join(f'{value:.1f} {what}' for what, value in measured.items())}", flush=True)


def describe_folder(folder: Path) -> str:
    """Return the sizes of the tables, and how many rows were written where the folder says so."""
    paths = {name: next((folder / place).glob(f"{name}.csv*")) for name, place in TABLES.items()}
    sizes = ", ".join(f"{path.name} {path.stat().st_size / 1e6:,.0f} MB" for path in paths.values())
    planted = folder / "planted.json"
    rows = json.loads(planted.read_text()) if planted.is_file() else {}
    told = ", ".join(f"{rows[f'rows of {name}']:,} rows of {name}" for name in TABLES if f"rows of {name}" in rows)
    return f"{folder}: {sizes}; {told}"


def count_examples(folder: Path) -> tuple[int, int, int]:
    """Return how many texts, labels and patients the three files have."""
    import duckdb

    query = f"SELECT count(*), sum(len(codes)), count(DISTINCT patient) FROM '{folder}/*.parquet'"
    row = duckdb.execute(query).fetchone()
    assert row is not None
    return int(row[0]), int(row[1]), int(row[2])


def load_with_pandas(folder: Path, output: Path) -> None:
    """Do the same as a competent person would in pandas: columns and types chosen, everything vectorised that can be."""
    import pandas as pd

    from eval.corpora.code_reader import CodeReader
    from eval.corpora.splits import draw_split
    from icd10cm import CodeSet

    def read(name: str, columns: list[str], **types: str) -> pd.DataFrame:
        path = next((folder / TABLES[name]).glob(f"{name}.csv*"))
        return pd.read_csv(path, usecols=columns, dtype=types, keep_default_na=False, na_values={"hadm_id": [""]})

    columns = ["subject_id", "hadm_id", "seq_num", "icd_code", "icd_version"]
    diagnoses = read("diagnoses_icd", columns, icd_code="string")
    diagnoses = diagnoses[diagnoses.icd_version == 10]
    reader = CodeReader(CodeSet.load(), True, {})
    known = {code: reader.read(code).code for code in diagnoses.icd_code.unique()}
    diagnoses["code"] = diagnoses.icd_code.map(known)
    coded = set(diagnoses.hadm_id.unique())
    diagnoses = diagnoses[diagnoses.code != ""].sort_values(["hadm_id", "seq_num"], kind="stable")
    diagnoses = diagnoses.drop_duplicates(["hadm_id", "code"])
    labels = diagnoses.groupby("hadm_id", sort=False).code.agg(list).rename("codes").reset_index()

    notes = read("discharge", ["note_id", "subject_id", "hadm_id", "note_type", "note_seq", "text"], text="string")
    notes = notes[(notes.note_type == "DS") & notes.hadm_id.isin(coded)]
    notes = notes[notes.text.str.strip() != ""].drop_duplicates("note_id")
    notes["n"] = notes.text.str.len()
    notes = notes.sort_values(["n", "note_seq"], ascending=False, kind="stable").drop_duplicates("hadm_id").sort_index()
    notes["hadm_id"] = notes.hadm_id.astype("int64")
    merged = notes.merge(labels, on="hadm_id")
    merged = merged.merge(read("patients", ["subject_id", "gender", "anchor_age", "anchor_year"]), on="subject_id", how="left")
    admissions = read("admissions", ["hadm_id", "admittime", "admission_type", "insurance", "language", "race"])
    merged = merged.merge(admissions.drop_duplicates("hadm_id"), on="hadm_id", how="left")
    merged["age"] = merged.anchor_age + pd.to_datetime(merged.admittime, errors="coerce").dt.year - merged.anchor_year
    merged["split"] = merged.subject_id.map({one: draw_split(str(one), 0, 0.1, 0.15) for one in merged.subject_id.unique()})
    merged["patient"] = merged.subject_id.astype(str)
    output.mkdir(parents=True)
    kept = ["note_id", "patient", "text", "codes", "split", "gender", "age", "admission_type", "insurance", "language", "race"]
    for split, rows in merged.groupby("split"):
        rows[kept].to_parquet(output / f"{split}.parquet", compression="zstd", index=False)


if __name__ == "__main__":
    main()
