"""python -m eval.report: one page that needs nothing else, says what the scores say, and is the same bytes each time."""

from __future__ import annotations

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from eval_cases import assert_refused, predict, run_module, write_run

from data_gen.examples import Example, write_examples
from eval import report_tables
from eval.report import join_words, run
from eval.report_charts import describe_scenarios, draw_scenarios
from eval.score import run as run_score
from icd10cm.run_header import hash_file

TEXTS = {"b1": "essential hypertension", "t1": "diabetis with <b>foot</b> ulcer & more", "t2": "osteoarthritis rigt knee"}
RIGHT = {"b1": "I10", "t1": "E11.621", "t2": "M17.11"}
STAGES = {"stage 1": {"b1": "I10", "t1": "E11.622", "t2": "M17.12"}, "stage 2": dict(RIGHT), "floor": RIGHT | {"t1": "E11.9"}}
VOID = {"meta", "br", "link", "img", "input", "hr"}


@pytest.fixture
def scored(tmp_path: Path) -> list[Path]:
    """Scores of two stages and the floor, over examples that lie beside them."""
    data = tmp_path / "test.jsonl"
    write_examples(
        data, [Example(id, name_scenario(id), text, (RIGHT[id],), "test", "hand", "2026") for id, text in TEXTS.items()]
    )
    found = []
    for name, written in STAGES.items():
        predictions = [predict(RIGHT[id], code, id=id, scenario=name_scenario(id)) for id, code in written.items()]
        engine = "floor" if name == "floor" else "transformers"
        path = write_run(tmp_path / name, predictions, engine=engine, data=str(data), inputs=[data])
        assert run_score([str(path), "--n-boot", "100"]) == 0
        found.append(path.with_name("scores.json"))
    return found


def name_scenario(id: str) -> str:
    return {"b": "base", "t": "typo"}[id[0]]


def write_report(tmp_path: Path, scores: list[Path], *more: str) -> str:
    assert run([*map(str, scores), "--output", str(tmp_path / "report.html"), *more]) == 0
    return (tmp_path / "report.html").read_text(encoding="utf-8")


class Reader(HTMLParser):
    """Checks that tags close in order and collects the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "svg"} & set(self.open):
            self.text.append(data)


def read_text(page: str) -> str:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return " ".join(" ".join(reader.text).split())


def test_page_says_what_the_scores_say(tmp_path: Path, scored: list[Path]) -> None:
    page = write_report(tmp_path, scored)
    text = read_text(page)
    assert "stage 1, stage 2 and floor on 3 texts, ICD-10-CM release 2026" in text
    assert "stage 2 gives exactly the right codes for 100.0 %" in text
    assert "stage 1 for 33.3 %" in text
    assert "no training" in text
    assert "not directly comparable" in text
    assert "87.51" not in text, "no published row for a scenario that was not measured"
    assert "94.18" in text
    assert "E11.622 Type 2 diabetes mellitus with other skin ulcer" in text
    assert "wrong laterality" in text
    assert "a certified coder decides" in text
    assert hash_file(tmp_path / "test.jsonl") in text


def test_page_needs_nothing_from_outside(tmp_path: Path, scored: list[Path]) -> None:
    page = write_report(tmp_path, scored)
    assert "http" not in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)|@import|url\((?!["']?#)|<script""", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_same_bytes_each_time(tmp_path: Path, scored: list[Path]) -> None:
    for name in ("first", "second"):
        assert run_module("eval.report", *scored, "--output", tmp_path / f"{name}.html").returncode == 0
    assert (tmp_path / "first.html").read_bytes() == (tmp_path / "second.html").read_bytes()
    assert (tmp_path / "first.csv").read_bytes() == (tmp_path / "second.csv").read_bytes()


def test_texts_are_shown_only_while_the_data_is_the_same(tmp_path: Path, scored: list[Path]) -> None:
    shown = write_report(tmp_path, scored)
    assert "&lt;b&gt;foot&lt;/b&gt; ulcer &amp; more" in shown
    assert "<b>foot</b>" not in shown
    with (tmp_path / "test.jsonl").open("a") as file:
        file.write("\n")
    hidden = write_report(tmp_path, scored)
    assert "ulcer &amp; more" not in hidden
    assert "The texts are left out" in hidden
    (tmp_path / "test.jsonl").unlink()
    assert "The texts are left out" in write_report(tmp_path, scored)


def test_n_examples_has_an_effect(tmp_path: Path, scored: list[Path]) -> None:
    assert write_report(tmp_path, scored).count('class="case"') == 3
    assert write_report(tmp_path, scored, "--n-examples", "1").count('class="case"') == 2
    assert "one by one" not in write_report(tmp_path, scored, "--n-examples", "0")


def test_csv_has_every_number(tmp_path: Path, scored: list[Path]) -> None:
    write_report(tmp_path, scored)
    rows = list(csv.DictReader((tmp_path / "report.csv").open(encoding="utf-8")))
    found = {(row["label"], row["scenario"], row["metric"]): row for row in rows}
    assert found["stage 1", "typo", "exact_match"]["value"] == "0.000000"
    assert found["floor", "typo", "exact_match"]["value"] == "0.500000"
    assert found["stage 2", "overall", "micro_f1"]["low"] == "1.000000"
    assert found["stage 1", "typo", "error:wrong_laterality"]["value"] == "1"


def test_one_file_and_files_without_each_others_scenarios(tmp_path: Path, scored: list[Path]) -> None:
    read_text(write_report(tmp_path, scored[:1]))
    read_text(write_report(tmp_path, scored[2:]))
    other = write_run(tmp_path / "notes", [predict("I10", "I10", id="n1", scenario="note")])
    assert run_score([str(other), "--n-boot", "100"]) == 0
    text = read_text(write_report(tmp_path, [*scored, other.with_name("scores.json")]))
    assert "not measured" in text
    assert "columns differ in their examples" in text


def test_same_label_twice_is_told_apart(scored: list[Path]) -> None:
    scores = [json.loads(path.read_text()) for path in (scored[0], scored[0], scored[2])]
    columns = report_tables.build_columns(scores)
    assert [column.label for column in columns] == ["stage 1", "stage 1 (2)", "floor"]
    assert [column.is_floor for column in columns] == [False, False, True]


def build_column(label: str, low: float, value: float, high: float) -> report_tables.Column:
    rate = {"exact_match": {"value": value, "low": low, "high": high}}
    return report_tables.Column(label, label == "floor", {"scenarios": {"typo": rate}, "overall": rate})


@pytest.mark.parametrize(
    ("ours", "side"),
    [((0.8, 0.85, 0.9), "above"), ((0.6, 0.75, 0.9), "level"), ((0.1, 0.2, 0.3), "below"), ((0.7, 0.75, 0.8), "level")],
)
def test_above_the_floor_means_that_intervals_do_not_touch(ours: tuple[float, float, float], side: str) -> None:
    columns = [build_column("floor", 0.5, 0.6, 0.7), build_column("model", *ours)]
    found = report_tables.compare_to_floor(columns)
    assert [name for name, scenarios in found.items() if scenarios] == [side]


def test_chart_is_described_in_words_and_takes_the_colours_of_the_page(scored: list[Path]) -> None:
    columns = report_tables.build_columns([json.loads(path.read_text()) for path in scored])
    words = describe_scenarios(columns)
    assert "typo: stage 1 0.0, stage 2 100.0, floor 50.0" in words
    for narrow in (False, True):
        svg = draw_scenarios(columns, narrow)
        assert f'aria-label="{words}"' in svg
        assert "var(--s0)" in svg
        assert "var(--floor)" in svg
        assert not re.search("#0[0-9a-f]0[0-9a-f]", svg), "a stand-in colour was left"


def test_words_are_joined() -> None:
    assert [join_words(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_dry_run_writes_nothing(tmp_path: Path, scored: list[Path]) -> None:
    assert run([str(scored[0]), "--output", str(tmp_path / "x.html"), "--dry-run"]) == 0
    assert not list(tmp_path.glob("x.*"))


def test_bad_input_is_one_line_and_exit_2(tmp_path: Path, scored: list[Path]) -> None:
    scored[0].write_text(scored[0].read_text().replace('"schema_version": 1', '"schema_version": 7', 1))
    assert_refused(run_module("eval.report", *scored), "scores.json", "schema version 7")
    assert_refused(run_module("eval.report", tmp_path / "none.json"), "none.json", "does not exist")
    assert_refused(run_module("eval.report"), "'scores' is required")
