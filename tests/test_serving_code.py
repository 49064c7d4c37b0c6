"""`icdtune code`: a phrase, a file or standard input; a checkpoint, a model server or the coding API; a table or JSON."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from upstream_server import UpstreamServer

from icd10cm import CodeSet
from serving import code


def test_a_phrase_gives_a_table_of_codes_with_titles(
    random_checkpoint: Path, codes: CodeSet, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code.run(["T2DM w/ foot ulcer", "--model", str(random_checkpoint), "--max-tokens", "40"]) in (0, 1)
    out, err = capsys.readouterr()
    phrase, *rows = out.splitlines()
    assert phrase == "T2DM w/ foot ulcer" and rows and "certified coder" in err
    listed = [row.split(maxsplit=2) for row in rows if row[2:5].strip() and row[:4] != "  ! " and "…" not in row]
    assert listed
    for written, confidence, title in listed:
        assert confidence.endswith("%") and codes.title(written) == title


def test_lines_of_standard_input_give_a_json_object_each(
    random_checkpoint: Path, codes: CodeSet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("gout\n\n 250.00 \n"))
    assert code.run(["--model", str(random_checkpoint), "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(row["text"], row["request_id"]) for row in rows] == [("gout", "text-1"), ("250.00", "text-2")]
    for row in rows:
        assert row["codes"] and row["model"]["engine"] == "numpy" and row["model"]["sha256"]
        assert all(codes.title(found["code"]) == found["title"] for found in row["codes"])
        assert all(found["evidence"][0]["support"] is not None for found in row["codes"])


def test_without_the_limit_nothing_is_passed_off_as_a_code(random_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code.run(["gout", "--model", str(random_checkpoint), "--constrained", "false", "--max-tokens", "9", "--json"]) == 1
    row = json.loads(capsys.readouterr().out)
    assert row["codes"] == [] and row["abstained"]


def test_a_file_of_objects_is_coded_by_a_server_in_order(
    upstream: UpstreamServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(upstream, "answer", lambda text: ["E11.9", "E10.9", "N80.00"] if "diabetes" in text else ["R07.9"])
    file = tmp_path / "texts.jsonl"
    rows = [{"text": "diabetes", "id": "one", "sex": "M"}, {"text": "Gout. Denies chest pain.", "id": "two", "threshold": 0.99}]
    file.write_text("\ufeff" + "\n".join(map(json.dumps, rows)) + "\n\n")
    assert code.run([str(file), "--base-url", upstream.url]) == 1, "the second text has no sure code"
    out = capsys.readouterr().out
    assert out.index("one\n") < out.index("  E11.9") < out.index("two\n") < out.index("  R07.9")
    for words in (
        "male" if "male" in out else "sex",
        "no code reaches the threshold 0.99",
        "less sure",
        'from "Denies chest pain" (negated: Denies)',
    ):
        assert words in out, out
    assert code.run(["--file", str(file), "--base-url", upstream.url, "--json", "--threshold", "0"]) == 1
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert {"excludes1", "sex"} <= {finding["rule"] for finding in first["findings"]}
    assert (first["threshold"], second["threshold"], second["id"]) == (0, 0.99, "two")


def test_text_that_a_server_cannot_code_ends_with_status_2(
    upstream: UpstreamServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert code.run(["gout", "--base-url", upstream.url, "--model-name", "nothing"]) == 2
    out, err = capsys.readouterr()
    assert "not coded" in out and upstream.url in err and "no model 'nothing'" in err


@pytest.mark.parametrize(
    ("words", "typed", "message"),
    [
        (["gout", "--model", "nowhere"], "", "nowhere: no such checkpoint folder"),
        (["gout", "--model", "a", "--base-url", "b"], "", "not both"),
        (["gout", "--base-url", "b"], "", "is not an address"),
        (["gout", "--file", "x.txt"], "", "not both"),
        (["missing.txt"], "", "missing.txt: cannot be read"),
        (["bad.jsonl"], "", "bad.jsonl, line 2: not valid JSON"),
        (["keys.jsonl"], "", "keys.jsonl, line 1: sexes: Extra inputs"),
        (["--age", "200", "gout"], "", "'age' should be"),
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
    (tmp_path / "bad.jsonl").write_text('{"text": "gout"}\n{"text": \n')
    (tmp_path / "keys.jsonl").write_text('{"text": "Zebulon Quux", "sexes": "F"}\n')
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    assert code.run(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("icdtune: error: ") and message in line and "Quux" not in line


def test_a_server_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert code.run(["gout", "--base-url", "http://127.0.0.1:9/v1"]) == 2
    assert "http://127.0.0.1:9/v1: 1 of 1 texts were not coded: the model server" in capsys.readouterr().err
