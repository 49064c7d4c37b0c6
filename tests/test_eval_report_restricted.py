"""The report on notes of a restricted corpus: what stands in it, and whose texts do not unless asked for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from eval_cases import assert_refused, run_module
from report_runs import (
    SKILLS,
    check_readable,
    draw_notes,
    draw_titles,
    list_engines,
    read_report,
    read_text,
    score_engines,
    write_report,
)  # fmt: skip

from eval.paired import run as run_paired
from eval.reporting.restriction import find_corpus, is_restricted
from icd10cm import CodeSet
from icd10cm.run_header import build_header, write_json

NOTE_SKILLS = {"model": {"note": 0.6}, "floor": {"note": 0.3}}


@pytest.fixture(scope="module")
def notes(codes: CodeSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Scores of engines over 60 notes of a restricted corpus, with rankings, patients and attributes; `pair` compares them."""
    folder = tmp_path_factory.mktemp("own")
    marks = {"corpus": "mimic_iv", "restricted": True}
    found = score_engines(folder, draw_notes(codes, 60), codes, NOTE_SKILLS, ranked=10, beside=marks, **marks)
    pair = folder / "paired.json"
    both = [str(found[name].with_name("predictions.jsonl")) for name in ("model", "floor")]
    assert run_paired([*both, "--n-boot", "100", "--output", str(pair)]) == 0
    return {**found, "pair": pair}


@pytest.fixture(scope="module")
def notes_report(notes: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the report on notes."""
    folder = tmp_path_factory.mktemp("notes-report")
    write_report(folder, list_engines(notes), "--paired", notes["pair"])
    return folder


def test_texts_of_a_restricted_corpus_are_shown_only_when_it_is_named(
    tmp_path: Path, notes: dict[str, Path], notes_report: Path
) -> None:
    for suffix in ("html", "csv", "json", "md"):
        written = (notes_report / f"report.{suffix}").read_text(encoding="utf-8")
        assert "SECRET PASSAGE" not in written and "hadm-" not in written, suffix
    text = read_text(read_report(notes_report))
    assert "no text and no identifier of it is on this page" in text
    assert "Texts and identifiers are left out" in text
    shown = write_report(tmp_path, list_engines(notes), "--paired", notes["pair"], "--show-texts-of", "mimic_iv")
    assert "SECRET PASSAGE" in shown and "hadm-" in shown
    assert "This page holds texts of mimic_iv" in read_text(shown)


def test_a_name_that_is_no_restricted_corpus_is_refused(tmp_path: Path, notes: dict[str, Path], codes: CodeSet) -> None:
    output = ("--output", tmp_path / "x.html")
    misspelt = run_module("eval.report", notes["model"], *output, "--show-texts-of", "mimic_vi")
    assert_refused(misspelt, "mimic_vi", "did you mean 'mimic_iv'")
    open_to_all = score_engines(tmp_path, draw_titles(codes, 6), codes, {"floor": SKILLS["floor"]})["floor"]
    assert_refused(run_module("eval.report", open_to_all, *output, "--show-texts-of", "mimic_iv"), "mimic_iv", "leave it out")
    assert not (tmp_path / "x.html").exists()


def test_a_mark_in_any_place_restricts(tmp_path: Path) -> None:
    data = tmp_path / "test.jsonl"
    data.write_text("", encoding="utf-8")
    header = {"data": str(data)}
    assert not is_restricted(header)
    assert is_restricted(header | {"restricted": True})
    assert is_restricted(header | {"data_header": {"restricted": True}})
    assert is_restricted(header | {"corpus": "MIMIC_IV"}) and find_corpus({"corpus": "MIMIC_IV"}) == "mimic_iv"
    assert is_restricted({"data": "outputs/mimic_iv/test.parquet"})
    write_json(tmp_path / "run.json", build_header("eval.corpora.prepare", {"corpus": "own"}, restricted=True))
    assert is_restricted(header) and find_corpus(header) == "own"


def test_page_can_be_read_by_all(notes_report: Path) -> None:
    check_readable(read_report(notes_report))


def test_notes_stand_beside_published_figures(notes_report: Path) -> None:
    text = read_text(read_report(notes_report))
    assert "PLM-ICD theirs; Edin et al., SIGIR 2023 0.4 – 58.5 21.1" in text
    assert "LLMCoder, abstract theirs; Hou et al., npj Health Systems 2025 69.20 87.16" in text
    assert "Over all notes, model reaches a micro F1 of" in text, "whole notes are hardly ever exactly right"
    assert "60 texts of 30 patients" in text
    assert "74.27" not in text, "figures of the 50 most frequent codes are of another task"
    assert re.search(r"model ours, closed set – – \d", text)


def test_the_top_50_stand_beside_figures_of_their_own(tmp_path: Path, notes: dict[str, Path]) -> None:
    scores = json.loads(notes["model"].read_text(encoding="utf-8"))
    scores["header"] |= {"data": str(tmp_path / "test.parquet")}
    labels = {"kind": "top", "procedures": False}
    write_json(tmp_path / "run.json", build_header("eval.corpora.prepare", {}, corpus="mimic_iv", labels=labels))
    (tmp_path / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    text = read_text(write_report(tmp_path, [tmp_path / "scores.json"]))
    assert "BioGPT enhanced theirs, closed set" in text and "74.27" in text and "LAAT" not in text


def test_groups_are_shown_and_small_ones_marked(notes_report: Path) -> None:
    page = read_report(notes_report)
    text = read_text(page)
    for heading in ("By chapter of the code", "By length of the text", "By number of right codes", "By race", "By age group"):
        assert heading in text
    group = json.loads((notes_report / "report.json").read_text(encoding="utf-8"))["breakdowns"]
    races = {row["label"]: row for part in group if part["dimension"] == "race" for row in part["rows"]}
    assert races["asian"]["small"] and not races["white"]["small"]
    assert re.search(r"asian n = \d+, few", text)
    assert "hollow" in page
