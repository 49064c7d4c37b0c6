"""MIMIC-IV as examples, on a generated folder of its form: every row is accounted for, by a count of another kind too."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from mimic_folders import FILES, copy_table, prepare_corpus, read_all, read_counts, read_csv, write_command, write_shaped

from data_gen.examples import SPLITS, read_examples
from data_gen.restricted import is_restricted
from eval.corpora import mimic_shaped, prepare
from eval.corpora.splits import draw_split
from eval.corpora.tables import open_tables
from finetune.stage_data import load_stage_data
from icd10cm import CodeSet
from icd10cm.codeset import add_dot
from icd10cm.releases import find_retired

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shaped(tmp_path_factory.mktemp("shaped") / "mimic", 600)


@pytest.fixture(scope="module")
def prepared(shaped: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder as examples, with the defaults."""
    return prepare_corpus(shaped, tmp_path_factory.mktemp("prepared") / "corpus")


def count_by_sqlite(shaped: Path, codes: CodeSet) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Return note to codes, and counts of notes by what becomes of them, by SQLite and with no code of the loader."""
    base = sqlite3.connect(":memory:")
    base.execute("CREATE TABLE d (hadm TEXT, seq INT, code TEXT, version TEXT)")
    base.execute("CREATE TABLE n (line INT, id TEXT, hadm TEXT, kind TEXT, seq INT, text TEXT)")
    base.execute("CREATE TABLE c (raw TEXT PRIMARY KEY, code TEXT)")
    rows = read_csv(shaped / "hosp" / "diagnoses_icd.csv.gz")
    base.executemany("INSERT INTO d VALUES (:hadm_id, :seq_num, :icd_code, :icd_version)", rows)
    notes = read_csv(shaped / "note" / "discharge.csv.gz")
    base.executemany(
        "INSERT INTO n VALUES (?, :note_id, :hadm_id, :note_type, :note_seq, :text)".replace("?", ":line"),
        [row | {"line": str(line)} for line, row in enumerate(notes)],
    )
    for raw in {row["icd_code"] for row in rows}:
        dotted = add_dot(raw)
        retired = find_retired(dotted)
        choices = [dotted, *(retired.successors if retired else ())]
        base.execute("INSERT INTO c VALUES (?, ?)", (raw, next((code for code in choices if codes.is_billable(code)), None)))
    base.execute("CREATE TABLE good AS SELECT * FROM n WHERE kind = 'DS' AND hadm <> '' AND trim(text, char(32, 10)) <> ''")
    base.execute("CREATE TABLE coded AS SELECT DISTINCT hadm FROM d WHERE version = '10'")
    base.execute("CREATE INDEX by_hadm ON good (hadm)")
    base.execute(
        """CREATE TABLE chosen AS SELECT min(line) AS line, id, hadm FROM good g WHERE hadm IN coded AND NOT EXISTS (
        SELECT 1 FROM good o WHERE o.hadm = g.hadm AND o.id <> g.id AND length(o.text) > length(g.text)) GROUP BY id, hadm"""
    )
    found: dict[str, list[str]] = {}
    query = """SELECT chosen.id, c.code FROM chosen JOIN d ON d.hadm = chosen.hadm AND d.version = '10' JOIN c ON c.raw = d.icd
        WHERE c.code IS NOT NULL GROUP BY chosen.id, c.code ORDER BY chosen.line, min(d.seq), d.icd"""
    for note, code in base.execute(query.replace("d.icd", "d.code")):
        found.setdefault(note, []).append(code)

    def count(query: str) -> int:
        return int(base.execute(f"SELECT count(*) FROM {query}").fetchone()[0])

    once = "(SELECT DISTINCT id FROM good WHERE hadm IN coded)"
    return found, {
        "notes in the file": count("n"),
        "dropped: no admission id": count("n WHERE hadm = ''"),
        "dropped: no text": count("n WHERE hadm <> '' AND trim(text, char(32, 10)) = ''"),
        "dropped: an addendum, or another type of note": count("n WHERE hadm <> '' AND kind <> 'DS'"),
        "dropped: its admission has no ICD-10 diagnosis": count("good WHERE hadm NOT IN coded"),
        "dropped: notes and diagnoses name different patients": 0,
        "dropped: the same note_id again": count("good WHERE hadm IN coded") - count(once),
        "dropped: the admission has a longer summary": count(once) - count("chosen"),
        "dropped: no code is left": count("chosen") - len(found),
        "in the examples": len(found),
    }  # fmt: skip


def test_counts_are_those_of_an_independent_sql_check(shaped: Path, prepared: Path, codes: CodeSet) -> None:
    expected, counts = count_by_sqlite(shaped, codes)
    # a heading with one unspecified code below it is carried to that; the planted headings have three characters
    assert {example.id: list(example.codes) for example in read_all(prepared)} == expected
    told = read_counts(prepared)
    assert {what: told["texts"].get(what, 0) for what in counts} == counts
    never = ("dropped: notes and diagnoses name different patients", "dropped: no code is left")
    assert all(number for what, number in counts.items() if what not in never), counts
    assert told["labels"]["in the examples"] == sum(map(len, expected.values()))
    planted = json.loads((shaped / "planted.json").read_text())
    rows = read_csv(shaped / "hosp" / "diagnoses_icd.csv.gz")
    assert told["rows"]["diagnoses"] == planted["rows of diagnoses_icd"] == len(rows)
    assert told["rows"]["diagnoses of ICD-10"] == sum(row["icd_version"] == "10" for row in rows)
    assert told["texts"]["notes in the file"] == planted["rows of discharge"]


def test_every_row_is_accounted_for(prepared: Path) -> None:
    counts = read_counts(prepared)
    texts = {what: number for what, number in counts["texts"].items() if not what.startswith("(")}
    assert texts.pop("notes in the file") == sum(texts.values())
    read, labels = counts["diagnoses"], counts["labels"]
    assert sum(number for what, number in read.items() if not what.startswith("lost")) == sum(labels.values())
    assert min(read[f"lost: {kind}"] for kind in ("blank", "not in the release", "a heading, more characters are needed")) > 0
    card = (prepared / "corpus_card.md").read_text()
    for section in ("texts", "diagnoses", "labels", "rows"):
        assert all(f"| {what} | {number:,} |" in card for what, number in counts[section].items())


def test_texts_are_whole_and_as_they_were(shaped: Path, prepared: Path) -> None:
    source = {row["note_id"]: row["text"] for row in read_csv(shaped / "note" / "discharge.csv.gz")}
    examples = read_all(prepared)
    assert all(example.text == source[example.id] for example in examples)
    assert any('"' in example.text and "naïve" in example.text and "\n" in example.text for example in examples)


def test_examples_have_patient_attributes_and_one_split_per_patient(shaped: Path, prepared: Path) -> None:
    examples = read_all(prepared)
    patients = {row["subject_id"]: row for row in read_csv(shaped / "hosp" / "patients.csv.gz")}
    for example in examples:
        attributes = dict(example.attributes)
        assert attributes["sex"] == patients[example.patient]["gender"] and example.scenario == "note"
        assert set(attributes) == {"admission_type", "age_group", "insurance", "language", "race", "sex"}
        assert example.split == draw_split(example.patient, 0, 0.1, 0.15)
    assert {example.split for example in examples} == set(SPLITS)
    assert [name for name in FILES if {e.split for e in read_examples(prepared / name)} != {name[:-8]}] == []


def test_the_same_bytes_whatever_the_threads_and_the_hash_seed(shaped: Path, prepared: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    command = [*write_command(shaped, again), "--threads", "1", "--memory-limit", "400MB"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONHASHSEED": "7"}, check=True, capture_output=True, timeout=120)
    assert all((again / name).read_bytes() == (prepared / name).read_bytes() for name in [*FILES, "corpus_card.md"])
    other = prepare_corpus(shaped, tmp_path / "other", "--seed", "1", "--test-share", "0.4", "--validation-share", "0.3")
    counts = Counter(example.split for example in read_all(other))
    assert counts["test"] > counts["validation"] > 0.2 * counts.total() and counts["train"] < 0.4 * counts.total()


@pytest.mark.parametrize("kind", ["feather of hadm_id", "parquet of note_id", "csv of hadm_id as 2.0e7"])
def test_published_splits(kind: str, shaped: Path, prepared: Path, tmp_path: Path) -> None:
    examples = read_all(prepared)
    stays = {row["note_id"]: int(row["hadm_id"] or 0) for row in read_csv(shaped / "note" / "discharge.csv.gz")}
    named = examples[10:]
    given = [("train", "val", "test")[number % 3] for number in range(len(named))]
    keys: list[Any] = [example.id if "note_id" in kind else stays[example.id] for example in named]
    if "csv" in kind:
        path = tmp_path / "split.csv"
        path.write_text("_id,split\n" + "".join(f"{key}.0,{name}\n" for key, name in zip(keys, given, strict=True)))
    else:
        path = tmp_path / f"split.{kind.partition(' ')[0]}"
        table = pa.table({"_id": keys, "split": given})
        (pa.feather.write_feather if path.suffix == ".feather" else pq.write_table)(table, path)
    output = prepare_corpus(shaped, tmp_path / "out", "--split-file", path)
    ours = {"train": "train", "val": "validation", "test": "test"}
    assert {e.id: e.split for e in read_all(output)} == {e.id: ours[s] for e, s in zip(named, given, strict=True)}
    assert read_counts(output)["texts"]["dropped: not in the split file"] == 10
    assert read_counts(output)["leaks"]["patients in more than one split"] > 0, "said, since this split is by admission"


def test_top_labels_with_and_without_smoking(shaped: Path, prepared: Path, tmp_path: Path) -> None:
    kept = prepare_corpus(shaped, tmp_path / "kept", "--labels", "top", "--n-labels", "20")
    dropped = prepare_corpus(shaped, tmp_path / "dropped", "--labels", "top", "--n-labels", "20", "--smoking-codes", "drop")
    full = read_all(prepared)
    counts = Counter(code for example in full if example.split == "train" for code in example.codes)
    ranked = sorted(counts, key=lambda code: (-counts[code], code))
    for folder, labels in ((kept, ranked[:20]), (dropped, [c for c in ranked if c not in ("F17.210", "Z87.891")][:20])):
        header = json.loads((folder / "run.json").read_text())
        assert header["labels"]["train_counts"] == {code: counts[code] for code in labels}
        expected = {e.id: tuple(code for code in e.codes if code in labels) for e in full}
        assert {e.id: e.codes for e in read_all(folder)} == {note: codes for note, codes in expected.items() if codes}
        assert header["counts"]["texts"]["dropped: none of its codes is among the 20 labels"] == list(expected.values()).count(
            ()
        )
    assert {"F17.210", "Z87.891"} <= set(ranked[:20])


def test_procedures_lost_codes_and_maps(shaped: Path, prepared: Path, tmp_path: Path) -> None:
    default = {example.id: example for example in read_all(prepared)}
    counts = read_counts(prepared)
    both = read_all(prepare_corpus(shaped, tmp_path / "both", "--procedures"))
    assert {e.id: e.codes[: len(default[e.id].codes)] for e in both} == {e.id: e.codes for e in default.values()}
    added = {code for e in both for code in e.codes[len(default[e.id].codes) :]}
    assert {"02HV33Z", "5A1D70Z"} <= added and all(re.fullmatch(r"[0-9A-Z]{7}", code) for code in added)

    whole = prepare_corpus(shaped, tmp_path / "whole", "--lost-codes", "drop_note")
    lost = counts["texts"]["(kept with the codes that are left, one or more being lost)"]
    assert 0 < lost == len(default) - len(read_all(whole))
    told = read_counts(whole)
    assert told["texts"]["dropped: one of its codes is lost (lost_codes: drop_note)"] == lost
    mapped = sum(number for what, number in told["diagnoses"].items() if not what.startswith("lost"))
    assert sum(told["labels"].values()) == mapped and told["labels"]["of texts dropped"] > 0

    strict = read_counts(prepare_corpus(shaped, tmp_path / "strict", "--map-retired", "false", "--code-map", "{J44: J44.9}"))
    retired = "retired: the likeliest successor put for it"
    assert strict["diagnoses"]["lost: retired, and map_retired is false"] == counts["diagnoses"][retired] > 0
    assert strict["diagnoses"]["put by code_map"] > 0 == counts["diagnoses"]["put by code_map"]


def test_texts_say_that_they_are_restricted(shaped: Path, prepared: Path, tmp_path: Path) -> None:
    assert json.loads((prepared / "run.json").read_text())["restricted"] is True
    alone = shutil.copy(prepared / "test.parquet", tmp_path / "moved.parquet")
    assert is_restricted(prepared / "test.parquet") and is_restricted(Path(alone))
    free = prepare_corpus(shaped, tmp_path / "free", "--restricted", "false")
    assert not is_restricted(free / "test.parquet") and "Restricted" not in (free / "corpus_card.md").read_text()


def test_a_stage_trains_on_the_folder(prepared: Path) -> None:
    data = load_stage_data(prepared, ["base", "multiple", "note"], {"note": 2}, 5)
    assert len(data.train) == 2 * len(read_examples(prepared / "train.parquet")) and len(data.validation) == 5
    assert data.release == "2026"


def test_dry_run_writes_nothing_and_shows_no_text(
    shaped: Path, prepared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--corpus", "mimic_iv", "--folder", str(shaped), "--output-dir", str(tmp_path / "out"), "--dry-run"]
    assert prepare.run(arguments) == 0
    shown = capsys.readouterr()
    assert not (tmp_path / "out").exists() and "rows: diagnoses of ICD-10:" in shown.out
    words = read_examples(prepared / "train.parquet")[0].text[200:].split()
    assert not any(" ".join(words[place : place + 4]) in shown.out + shown.err for place in range(0, 400, 4))


def test_ids_of_other_programs_and_of_other_patients(shaped: Path, prepared: Path, tmp_path: Path) -> None:
    examples = {example.id: example for example in read_all(prepared)}
    path = copy_table(shaped, tmp_path / "mimic", "diagnoses_icd")
    head, *lines = gzip.decompress(path.read_bytes()).decode().splitlines()
    odd = next(iter(examples.values())).patient
    swapped = [line.replace(f"{odd},", "1,", 1) if line.startswith(f"{odd},") else re.sub(r"^(\d+),(\d+)", r"\1.0,\2.0", line)
               for line in lines]  # fmt: skip
    path.write_bytes(gzip.compress("\n".join([head, *swapped, ""]).encode()))
    notes = next((tmp_path / "mimic").rglob("discharge.csv.gz"))
    unnamed = next(note for note, example in examples.items() if example.patient != odd)
    notes.write_bytes(gzip.compress(gzip.decompress(notes.read_bytes()).replace(f"\n{unnamed},".encode(), b"\n,")))
    found = {example.id: example.codes for example in read_all(prepare_corpus(tmp_path / "mimic", tmp_path / "out"))}
    kept = {note: example.codes for note, example in examples.items() if example.patient != odd}
    (renamed,) = found.keys() - kept.keys()
    assert renamed.startswith("note of 2") and found.pop(renamed) == kept.pop(unnamed) and found == kept
    told = read_counts(tmp_path / "out")["texts"]["dropped: notes and diagnoses name different patients"]
    assert told >= len(examples) - len(kept) - 1 > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_stopped_leaves_no_text_behind(number: int, shaped: Path, tmp_path: Path) -> None:
    process = subprocess.Popen(write_command(shaped, tmp_path / "corpus"), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (tmp_path / ".corpus.partial" / "work" / "texts.parquet").exists():
        time.sleep(0.002)
    process.send_signal(number)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "icdtune: stopped" in errors and "Traceback" not in errors
    assert not list(tmp_path.iterdir())


def test_ctrl_c_in_the_middle_of_a_query_is_ctrl_c(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), open_tables(tmp_path, "200MB", 1) as connection:
        # with a bar DuckDB looks for signals at the end of a query only, without one all the time
        connection.execute("SET enable_progress_bar = false")
        threading.Timer(0.1, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        connection.execute("SELECT count(*) FROM range(20000000000) numbers(number) WHERE number % 7 = 3")


def test_kill_leaves_no_half_file_and_the_same_command_goes_on(shaped: Path, prepared: Path, tmp_path: Path) -> None:
    output = tmp_path / "corpus"
    command = write_command(shaped, output)
    partial, killed = tmp_path / ".corpus.partial", 0
    for name in ("work/texts.parquet", "train.parquet"):
        process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
        while process.poll() is None and not (partial / name).exists():
            time.sleep(0.002)
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            killed += 1
            process.wait()
            assert not output.exists()
        shutil.rmtree(output, ignore_errors=True)
    assert killed
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    assert all((output / name).read_bytes() == (prepared / name).read_bytes() for name in FILES)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus"]
    assert sorted(path.name for path in output.iterdir()) == sorted([*FILES, "corpus_card.md", "run.json"])


def test_a_folder_of_the_other_version_and_plain_files(tmp_path: Path) -> None:
    folder = tmp_path / "mimic"
    arguments = ["--output-dir", str(folder), "--admissions", "150", "--mimic-version", "3.1", "--plain", "--workers", "1"]
    assert mimic_shaped.run([*arguments, "--dirt", "0", "--icd10-share", "0.9"]) == 0
    assert (folder / "note" / "discharge.csv").is_file()
    examples = read_all(prepare_corpus(folder, tmp_path / "out"))
    assert {dict(example.attributes).get("language") for example in examples} == {"English", "other", None}
    counts = read_counts(tmp_path / "out")
    assert not any(number for what, number in counts["diagnoses"].items() if what.startswith("lost"))


def test_the_generator_gives_the_same_bytes_with_any_number_of_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # small blocks, so that there are enough of them for both workers
    monkeypatch.setattr(mimic_shaped, "_BLOCK", 2)
    folders = [tmp_path / str(workers) for workers in (1, 2)]
    for folder, workers in zip(folders, ("1", "2"), strict=True):
        assert mimic_shaped.run(["--output-dir", str(folder), "--admissions", "300", "--workers", workers]) == 0
    files = [path.relative_to(folders[0]) for path in folders[0].rglob("*.csv.gz")]
    assert len(files) == 5 and all((folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in files)
    capsys.readouterr()
    assert mimic_shaped.run(["--output-dir", str(folders[0])]) == 2
    assert "is not empty; delete it or choose another folder" in capsys.readouterr().err


def test_notes_for_the_admissions_of_the_demo(shared_data: Path, tmp_path: Path, codes: CodeSet) -> None:
    demo = shared_data / "mimic_iv_demo"
    tables = ["--diagnoses", str(demo / "diagnoses_icd.csv"), "--admissions-file", str(demo / "admissions.csv")]
    assert mimic_shaped.run(["--output-dir", str(tmp_path / "demo"), *tables, "--dirt", "0", "--workers", "1"]) == 0
    with (demo / "diagnoses_icd.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["icd_version"].strip() == "10"]
    examples = read_all(prepare_corpus(tmp_path / "demo", tmp_path / "out"))
    by_stay: dict[str, set[str]] = {}
    for row in rows:
        if codes.is_billable(row["icd_code"]):
            by_stay.setdefault(row["hadm_id"], set()).add(add_dot(row["icd_code"]))
    assert len(examples) == len({row["hadm_id"] for row in rows})
    assert sum(len(set(e.codes)) for e in examples) >= sum(map(len, by_stay.values()))
    assert {example.patient for example in examples} == {row["subject_id"] for row in rows}
    assert read_counts(tmp_path / "out")["rows"]["diagnoses of ICD-10"] == len(rows)
