"""`icdtune code`: a phrase or lines of standard input, a table or JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from icd10cm import CodeSet
from icd10cm.rules import Checker
from serving import code
from serving.engines import Generation


def test_a_phrase_gives_a_table_of_codes_with_titles(
    random_checkpoint: Path, codes: CodeSet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code.run(["T2DM w/ foot ulcer", "--model", str(random_checkpoint), "--max-tokens", "40"]) == 0
    out, err = capsys.readouterr()
    phrase, *rows = out.splitlines()
    assert phrase == "T2DM w/ foot ulcer" and rows and "certified coder" in err
    for row in (row for row in rows if "cut off" not in row and not row.startswith("  ! ")):
        written, _, title = row.strip().partition(" ")
        assert codes.title(written) == title.strip()


def test_lines_of_standard_input_give_a_json_object_each(
    random_checkpoint: Path, codes: CodeSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("gout\n\n 250.00 \n"))
    assert code.run(["--model", str(random_checkpoint), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["text"] for row in rows] == ["gout", "250.00"]
    for row in rows:
        assert row["codes"] and row["rejected"] == [] and row["score"] < 0
        assert all(codes.title(found["code"]) == found["title"] for found in row["codes"])


def test_remarks_of_the_rules_follow_the_codes() -> None:
    checker, answer = Checker(), Generation("E11.9, E10.9", "stop", -1.0)
    (remark,) = json.loads(code.write_json("diabetes", answer, checker))["findings"]
    assert (remark["rule"], remark["node"], remark["codes"]) == ("excludes1", "E11", ["E11.9", "E10.9"])
    assert code.write_table("diabetes", answer, checker).splitlines()[-1] == f"  ! {remark['message']}"
    assert json.loads(code.write_json("gout", Generation("M10.9", "stop", -1.0), checker))["findings"] == []


def test_without_the_limit_nothing_is_passed_off_as_a_code(random_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code.run(["gout", "--model", str(random_checkpoint), "--constrained", "false", "--max-tokens", "9", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["codes"] == []


@pytest.mark.parametrize(
    ("words", "typed", "message"),
    [
        (["gout"], "", "no model to ask"),
        (["gout", "--model", "nowhere"], "", "nowhere: no such checkpoint folder"),
        (["gout", "--model", "a", "--base-url", "b"], "", "not both"),
        (["gout", "--base-url", "http://127.0.0.1:9/v1"], "", "nothing answers there"),
        ([], "\n \n", "nothing to code"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    typed: str,
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert code.run(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("icdtune: error: ") and message in line
