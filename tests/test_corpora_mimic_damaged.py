"""What is refused as MIMIC-IV: damaged, missing or other files, each in one line that holds nothing of them."""

from __future__ import annotations

import gzip
import resource
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mimic_folders import copy_table, prepare_corpus, read_all, read_csv, write_command, write_shaped

from eval.corpora import mimic_shaped, prepare

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def shaped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_shaped(tmp_path_factory.mktemp("shaped") / "mimic", 600)


def refuse(folder: Path, capsys: pytest.CaptureFixture[str], *more: object) -> str:
    """Return the one line that preparing ends with."""
    output = folder / "never"
    arguments = ["--corpus", "mimic_iv", "--folder", folder, "--output-dir", output, *more]
    assert prepare.run([str(argument) for argument in arguments]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("icdtune: error")]
    assert len(errors) == 1 and not output.exists()
    return errors[0]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("_id,split\n1,train\n", "none of its ids is an id of the corpus"),
        ("_id,part\n1,train\n", "has no column split"),
        ("_id,split\n1,holdout\n", "column split says 'holdout'"),
        ("_id,split\nHADM,train\nHADM,test\n", "an id of column _id stands in two splits"),
    ],
)
def test_split_files_that_do_not_fit(
    content: str, complaint: str, shaped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "split.csv"
    path.write_text(content.replace("HADM", read_csv(shaped / "note" / "discharge.csv.gz")[0]["note_id"]))
    copy_table(shaped, tmp_path / "mimic", "discharge")
    assert complaint in refuse(tmp_path / "mimic", capsys, "--split-file", path)


def test_letters_to_patients_are_refused(shaped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    letters = tmp_path / "letters"
    assert mimic_shaped.run(["--output-dir", str(letters), "--admissions", "60", "--patient-facing", "--workers", "1"]) == 0
    capsys.readouterr()
    line = refuse(letters, capsys)
    assert "speak to the patient" in line and "pleasure" not in line and "Dear" not in line
    text = b"note_id,subject_id,hadm_id,discharge_instructions\n1,1,1,Dear Ms. ___ secret\n"
    copy_table(shaped, tmp_path / "columns", "discharge", gzip.compress(text))
    line = refuse(tmp_path / "columns", capsys)
    assert "what the patient is told (column discharge_instructions)" in line and "secret" not in line
    rows = "".join(f"{n}-DS-1,{n},{n},DS,1,,,FINDINGS: no pneumothorax secret\n" for n in range(9))
    text = f"note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n{rows}".encode()
    copy_table(shaped, tmp_path / "radiology", "discharge", gzip.compress(text))
    line = refuse(tmp_path / "radiology", capsys)
    assert "headings of a discharge summary" in line and "secret" not in line


HEAD = b"note_id,subject_id,hadm_id,note_type,note_seq,charttime,storetime,text\n"


def pack(text: bytes) -> bytes:
    """Return the same gzip bytes at any time: they stand in the names of tests, which all processes must agree on."""
    return gzip.compress(text, mtime=0)


GOOD = b'1-DS-1,1,1,DS,1,,,"Chief Complaint:\nsecret word\nPast Medical History:\nsecret"\n'


@pytest.mark.parametrize(
    ("table", "content", "complaint"),
    [
        ("discharge", "cut", "not a whole gzip file"),
        ("discharge", HEAD + GOOD, "cannot be read as gzip"),
        ("discharge", pack(HEAD + GOOD * 3 + b'2-DS-1,2,2,DS,1,,,secret, "x",\n'), "row 5: no row with the columns"),
        ("discharge", pack(HEAD + GOOD + b'2-DS-1,secret\n'), "row 3: no row with the columns"),
        ("discharge", pack(HEAD + GOOD + b'2-DS-1,2,2,DS,1,,,"secret \xff\xfe"\n'), "not UTF-8"),
        ("discharge", pack(HEAD.replace(b"hadm_id", b"stay") + GOOD), "has no column hadm_id; found note_id"),
        ("diagnoses_icd", "cut", "not a whole gzip file"),
        ("diagnoses_icd", pack(b"hadm_id,icd_code\n1,E119\n"), "has no column subject_id, seq_num, icd_version"),
    ],
)  # fmt: skip
def test_damaged_files_are_one_line_without_their_text(
    table: str, content: Any, complaint: str, shaped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = copy_table(shaped, tmp_path / "mimic", table)
    path.write_bytes(path.read_bytes()[:-2000] if content == "cut" else content)
    line = refuse(tmp_path / "mimic", capsys)
    assert complaint in line and path.name in line and "secret" not in line, line


def test_what_is_missing_or_of_no_effect_is_named(shaped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(shaped / "hosp", tmp_path / "hosp")
    assert "note/discharge.csv.gz: no such file" in refuse(tmp_path, capsys) and not (tmp_path / "never").exists()
    assert "'dev_split' has no effect on mimic_iv" in refuse(tmp_path, capsys, "--dev-split", "validation")
    assert "leave nothing to train on" in refuse(tmp_path, capsys, "--test-share", "0.95", "--validation-share", "0.1")
    assert "code_map" in refuse(tmp_path, capsys, "--note-folder", shaped, "--code-map", "{E11: E11}")
    (tmp_path / "hosp" / "patients.csv.gz").unlink()
    apart = prepare_corpus(tmp_path, tmp_path / "out", "--note-folder", shaped / "note")
    assert not any("sex" in dict(example.attributes) for example in read_all(apart))
    assert "patients.csv.gz is not there" in (apart / "corpus_card.md").read_text()


def test_a_plain_file_that_is_cut_inside_a_note(shaped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = copy_table(shaped, tmp_path / "mimic", "discharge")
    whole = gzip.decompress(path.read_bytes())
    path.unlink()
    path.with_suffix("").write_bytes(whole[: whole.rindex(b"Physical Exam")])
    assert "discharge.csv: ends inside a quoted text" in refuse(tmp_path / "mimic", capsys)


def test_no_room_is_one_line(shaped: Path, tmp_path: Path) -> None:
    room = 300_000
    done = subprocess.run(
        write_command(shaped, tmp_path / "out"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (room, room)),
    )
    assert done.returncode == 2 and not (tmp_path / "out").exists(), done.stderr
    assert done.stderr.strip().splitlines()[-1].startswith("icdtune: error: ") and "Traceback" not in done.stderr
    assert "make room" in done.stderr
