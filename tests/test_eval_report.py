"""python -m eval.report: one page that needs nothing else, says what the scores say, and is the same bytes each time."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from eval_cases import assert_refused, predict, run_module, write_run
from report_runs import (
    SKILLS,
    check_readable,
    draw_titles,
    list_engines,
    read_report,
    read_text,
    score_engines,
    write_report,
)

from data_gen.examples import Example, write_examples
from eval.paired import run as run_paired
from eval.report import run
from eval.reporting import columns as report_columns
from eval.reporting.charts import describe_scenarios, draw_scenarios
from eval.reporting.columns import join_words
from eval.reporting.measures import describe_measure, list_measures
from eval.reporting.training import build_panels
from eval.score import run as run_score
from icd10cm import CodeSet
from icd10cm.run_header import build_header, hash_file, write_json

TEXTS = {"b1": "essential hypertension", "t1": "diabetis with <b>foot</b> ulcer & more", "t2": "osteoarthritis rigt knee"}
RIGHT = {"b1": "I10", "t1": "E11.621", "t2": "M17.11"}
STAGES = {"stage 1": {"b1": "I10", "t1": "E11.622", "t2": "M17.12"}, "stage 2": dict(RIGHT), "floor": RIGHT | {"t1": "E11.9"}}


def score_stages(folder: Path) -> list[Path]:
    """Score two stages and the floor over three examples that lie beside them."""
    data = folder / "test.jsonl"
    write_examples(
        data, [Example(id, name_scenario(id), text, (RIGHT[id],), "test", "hand", "2026") for id, text in TEXTS.items()]
    )
    found = []
    for name, written in STAGES.items():
        predictions = [predict(RIGHT[id], code, id=id, scenario=name_scenario(id)) for id, code in written.items()]
        engine = "floor" if name == "floor" else "transformers"
        path = write_run(folder / name, predictions, engine=engine, data=str(data), inputs=[data])
        assert run_score([str(path), "--n-boot", "100"]) == 0
        found.append(path.with_name("scores.json"))
    return found


@pytest.fixture(scope="module")
def scored(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return score_stages(tmp_path_factory.mktemp("scored"))


@pytest.fixture(scope="module")
def titles(codes: CodeSet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Scores of engines over 120 short texts, stage 2 with validation predictions; `pair` compares it with the floor."""
    folder = tmp_path_factory.mktemp("titles")
    validation = [example._replace(id=f"v-{example.id}") for example in draw_titles(codes, 60, seed=9)]
    score_engines(folder / "validation", validation, codes, {"stage 2": SKILLS["stage 2"]})
    found = score_engines(folder, draw_titles(codes, 120), codes, SKILLS)
    two = found["stage 2"].with_name("predictions.jsonl")
    fitted_on = folder / "validation" / "stage 2" / "predictions.jsonl"
    assert run_score([str(two), "--n-boot", "100", "--validation", str(fitted_on)]) == 0
    pair = folder / "paired.json"
    floor = found["floor"].with_name("predictions.jsonl")
    assert run_paired([str(two), str(floor), "--n-boot", "100", "--output", str(pair)]) == 0
    return {**found, "pair": pair}


@pytest.fixture(scope="module")
def titles_report(titles: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the report on short texts."""
    folder = tmp_path_factory.mktemp("titles-report")
    write_report(folder, list_engines(titles), "--paired", titles["pair"])
    return folder


def name_scenario(id: str) -> str:
    return {"b": "base", "t": "typo"}[id[0]]


def test_page_says_what_the_scores_say(tmp_path: Path, scored: list[Path]) -> None:
    page = write_report(tmp_path, scored)
    text = read_text(page)
    assert "stage 1, stage 2 and floor on 3 texts, ICD-10-CM release 2026" in text
    assert "stage 2 gives exactly the right codes for 100.0 %" in text
    assert "stage 1: 33.3 %" in text
    assert "no training" in text
    assert "not directly comparable" in text
    assert "87.51" not in text, "no published row for a scenario that was not measured"
    assert "94.18" in text and "33.9" in text
    assert "E11.622 Type 2 diabetes mellitus with other skin ulcer" in text
    assert "wrong laterality" in text
    assert "a certified coder decides" in text
    assert hash_file(scored[0].parent.parent / "test.jsonl") in text


def test_page_needs_nothing_from_outside(titles_report: Path) -> None:
    page = read_report(titles_report)
    assert "http" not in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)|@import|url\((?!["']?#)|<script""", page)
    assert "prefers-color-scheme: dark" in page
    assert 'name="viewport"' in page


def test_page_can_be_read_by_all(titles_report: Path) -> None:
    check_readable(read_report(titles_report))


def test_same_bytes_each_time(tmp_path: Path, titles: dict[str, Path], titles_report: Path) -> None:
    given = [*list_engines(titles), "--paired", titles["pair"]]
    assert run_module("eval.report", *given, "--output", tmp_path / "again.html").returncode == 0
    for suffix in ("html", "csv", "json", "md"):
        assert (titles_report / f"report.{suffix}").read_bytes() == (tmp_path / f"again.{suffix}").read_bytes()


def test_texts_are_shown_only_while_the_data_is_the_same(tmp_path: Path) -> None:
    scored = score_stages(tmp_path)[:1]
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


def test_certainty_is_shown_before_and_after(titles: dict[str, Path], titles_report: Path) -> None:
    page = read_report(titles_report)
    text = read_text(page)
    figures = json.loads(titles["stage 2"].read_text(encoding="utf-8"))["calibration"]
    assert f"{figures['ece']:.3f}" in text and f"after {figures['after']['ece']:.3f}" in text
    assert f"{100 * figures['coverage_at_95']:.1f} % of the codes of stage 2 can be kept" in text
    assert page.count('aria-label="Reliability curve.') == 2 and page.count('aria-label="Coverage curve.') == 1
    assert "Codes above a threshold" in text and "Set right on validation" in text


def test_cases_that_one_alone_gets_right(titles: dict[str, Path], titles_report: Path) -> None:
    paired = json.loads(titles["pair"].read_text(encoding="utf-8"))
    text = read_text(read_report(titles_report))
    cases = paired["overall"]["cases"]
    assert f"stage 2 alone gets {cases['only_a']} texts right, floor alone {cases['only_b']}." in text
    assert f"Either of the two is right for {100 * cases['union'] / 120:.1f} % of 120 texts" in text
    counts = " ".join(str(cases[name]) for name in ("both", "only_a", "only_b", "neither"))
    assert f"all texts n = 120 {counts}" in text
    rate = paired["overall"]["rates"]["exact_match"]
    assert f"{100 * rate['difference']:+.1f}" in text
    assert "Texts that only floor gets right" in text


def test_training_is_drawn_by_step(tmp_path: Path, scored: list[Path]) -> None:
    history = [
        {"loss": 2.0, "mean_token_accuracy": 0.4, "step": 10},
        {"eval_loss": 1.5, "eval_exact_match": 0.25, "eval_category_match": 0.5, "step": 10},
        {"loss": float("nan"), "step": 20},
        {"eval_loss": 0.5, "eval_exact_match": 0.75, "eval_category_match": 0.9, "step": 20},
    ]
    for name in ("one", "empty"):
        folder = tmp_path / name
        folder.mkdir()
        facts: dict[str, Any] = {"history": history if name == "one" else [], "steps": 20}
        write_json(folder / "run.json", build_header("finetune.sft", {"stage": "initial"}, **facts))
    page = write_report(tmp_path, scored, "--training", tmp_path / "one")
    assert "Validation slice, answered freely by step: exact match from 25.0% at step 10 to 75.0% at step 20" in page
    assert "Supervised fine-tuning from a Llama built from scratch, 20 steps" in read_text(page)
    rows = list(csv.DictReader((tmp_path / "report.csv").open(encoding="utf-8")))
    assert [row["value"] for row in rows if row["metric"] == "loss"] == ["2.000000"]
    given = (scored[0], "--output", tmp_path / "x.html", "--training")
    assert_refused(run_module("eval.report", *given, tmp_path / "empty"), "run.json", "no history")


def test_reward_takes_the_place_of_its_loss() -> None:
    panels = build_panels([{"loss": -0.1, "reward": 0.5, "step": 1}, {"eval_reward": 0.6, "step": 1}])
    assert [panel["key"] for panel in panels] == ["reward"]


def test_n_examples_has_an_effect(tmp_path: Path, scored: list[Path]) -> None:
    assert write_report(tmp_path, scored).count('class="case"') == 3
    assert write_report(tmp_path, scored, "--n-examples", "1").count('class="case"') == 2
    none = write_report(tmp_path, scored, "--n-examples", "0", "--title", "Mine")
    assert "one by one" not in none and "<h1>Mine</h1>" in none


def test_n_confusions_has_an_effect(tmp_path: Path, titles: dict[str, Path]) -> None:
    many = write_report(tmp_path, [titles["stage 1"]])
    few = write_report(tmp_path, [titles["stage 1"]], "--n-confusions", "2")
    assert many.count('data-label="written instead"') == 15 and few.count('data-label="written instead"') == 2
    assert "taken for one another" not in write_report(tmp_path, [titles["stage 1"]], "--n-confusions", "0")


def test_csv_has_every_number(titles: dict[str, Path], titles_report: Path) -> None:
    rows = list(csv.DictReader((titles_report / "report.csv").open(encoding="utf-8")))
    found = {(row["table"], row["label"], row["group"], row["metric"]): row for row in rows}
    assert len(found) == len(rows), "no two lines say the same thing"
    scores = json.loads(titles["stage 2"].read_text(encoding="utf-8"))
    rate = scores["scenarios"]["typo"]["exact_match"]
    row = found["scores", "stage 2", "typo", "exact_match"]
    assert [row[end] for end in ("value", "low", "high")] == [f"{rate[end]:.6f}" for end in ("value", "low", "high")]
    assert row["n"] == str(scores["scenarios"]["typo"]["n"])
    kind, count = next(iter(scores["errors"]["multiple"].items()))
    assert found["mistakes", "stage 2", "multiple", kind]["value"] == str(count)
    assert found["closed set", "floor", "overall", "micro_f1"]
    assert found["thresholded", "stage 2", "overall", "threshold"]
    assert found["calibration", "stage 2", "codes, after", "ece"]
    assert found["by held_out", "stage 1", "code", "exact_match"]
    assert found["pairs", "stage 2 and floor", "overall", "union"]
    assert found["differences", "stage 2 and floor", "overall", "exact_match:p"]
    assert {row["table"] for row in rows} >= {"reliability", "coverage", "confusion", "by chapter", "by n_codes"}


def test_json_has_what_the_page_shows(titles_report: Path) -> None:
    text = read_text(read_report(titles_report))
    content = json.loads((titles_report / "report.json").read_text(encoding="utf-8"))
    assert all(finding["claim"] in text for finding in content["findings"])
    shown = [cell for row in content["scenarios"] for cell in row["cells"]]
    assert len(shown) == 3 * 7 and all(f"{100 * cell['low']:.1f}–{100 * cell['high']:.1f}" in text for cell in shown)
    assert all(item["title"] in text for item in content["examples"][0]["groups"][0]["mistakes"][0]["right"])


def test_model_card_section_is_markdown_with_metadata_that_the_hub_reads(titles: dict[str, Path], titles_report: Path) -> None:
    card = (titles_report / "report.md").read_text(encoding="utf-8")
    assert card.startswith("## Evaluation\n")
    assert "| text | n | stage 1 | stage 2 | floor (no training) |" in card
    rate = json.loads(titles["stage 2"].read_text(encoding="utf-8"))["scenarios"]["typo"]["exact_match"]
    block = card.partition("```yaml\n")[2].partition("```")[0]
    (model,) = yaml.safe_load(block)["model-index"]
    assert model["name"] == "stage 2"
    (typo,) = [one for one in model["results"] if one["dataset"]["name"].endswith("typo")]
    assert typo["metrics"][0] == {"type": "exact_match", "name": "exact match", "value": round(100 * rate["value"], 1)}


def test_one_file_and_files_without_each_others_scenarios(tmp_path: Path, scored: list[Path]) -> None:
    read_text(write_report(tmp_path, scored[:1]))
    read_text(write_report(tmp_path, scored[2:]))
    other = write_run(tmp_path / "notes", [predict("I10", "I10", id="n1", scenario="note")])
    assert run_score([str(other), "--n-boot", "100"]) == 0
    text = read_text(write_report(tmp_path, [*scored, other.with_name("scores.json")]))
    assert "not measured" in text
    assert "columns differ in their examples" in text


def test_scores_without_the_optional_parts_are_drawn(tmp_path: Path, scored: list[Path]) -> None:
    scores = json.loads(scored[1].read_text(encoding="utf-8"))
    for key in ("closed_set", "breakdowns", "thresholded", "calibration", "confusion"):
        scores.pop(key, None)
    (tmp_path / "scores.json").write_text(json.dumps(scores), encoding="utf-8")
    text = read_text(write_report(tmp_path, [tmp_path / "scores.json"]))
    assert "How well it knows" not in text and "Where it does well" not in text and "closed" not in text
    assert "100.0" in text


def test_same_label_twice_is_told_apart(scored: list[Path]) -> None:
    scores = [json.loads(path.read_text()) for path in (scored[0], scored[0], scored[2])]
    columns = report_columns.build_columns(scores)
    assert [column.label for column in columns] == ["stage 1", "stage 1 (2)", "floor"]
    assert [column.is_floor for column in columns] == [False, False, True]


def build_column(label: str, low: float, value: float, high: float) -> report_columns.Column:
    rate = {"exact_match": {"value": value, "low": low, "high": high}}
    return report_columns.Column(label, label == "floor", {"header": {}, "scenarios": {"typo": rate}, "overall": rate})


@pytest.mark.parametrize(
    ("ours", "side"),
    [((0.8, 0.85, 0.9), "above"), ((0.6, 0.75, 0.9), "level"), ((0.1, 0.2, 0.3), "below"), ((0.7, 0.75, 0.8), "level")],
)
def test_above_the_floor_means_that_intervals_do_not_touch(ours: tuple[float, float, float], side: str) -> None:
    columns = [build_column("floor", 0.5, 0.6, 0.7), build_column("model", *ours)]
    found = report_columns.compare_to_floor(columns)
    assert [name for name, scenarios in found.items() if scenarios] == [side]


def test_chart_is_described_in_words_and_takes_the_colours_of_the_page(scored: list[Path]) -> None:
    columns = report_columns.build_columns([json.loads(path.read_text()) for path in scored])
    words = describe_scenarios(columns)
    assert "typo: stage 1 0.0, stage 2 100.0, floor 50.0" in words
    for narrow in (False, True):
        svg = draw_scenarios(columns, narrow)
        assert f'aria-label="{words}"' in svg
        assert "var(--s0)" in svg
        assert "var(--floor)" in svg
        assert not re.search("#0[0-9a-f]0[0-9a-f]", svg), "a stand-in colour was left"


def test_rates_that_nobody_described_are_shown_under_their_key() -> None:
    rate = {"value": 0.5, "low": 0.4, "high": 0.6}
    group = {"n": 3, "map": rate, "precision_at_15": rate, "precision_at_8": rate, "new_rate": rate, "exact_match": rate}
    assert list_measures([group, None]) == ["exact_match", "new_rate", "precision_at_8", "precision_at_15", "map"]
    assert list_measures([group], "ranking") == ["precision_at_8", "precision_at_15", "map"]
    assert describe_measure("recall_at_5").name == "R@5" and describe_measure("new_rate").name == "new rate"


def test_words_are_joined() -> None:
    assert [join_words(words) for words in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]


def test_dry_run_writes_nothing(tmp_path: Path, scored: list[Path]) -> None:
    assert run([str(scored[0]), "--output", str(tmp_path / "x.html"), "--dry-run"]) == 0
    assert not list(tmp_path.glob("x.*"))


def test_nothing_is_written_over_what_is_read(scored: list[Path]) -> None:
    before = scored[0].read_bytes()
    assert run([str(scored[0]), "--output", str(scored[0].with_suffix(".html"))]) == 2
    assert scored[0].read_bytes() == before


def test_bad_input_is_one_line_and_exit_2(tmp_path: Path, scored: list[Path]) -> None:
    assert_refused(
        run_module("eval.report", scored[1], "--paired", scored[0]), "scores.json", "run eval.paired, which writes it"
    )
    changed = re.sub('"schema_version": [0-9]+', '"schema_version": 77', scored[0].read_text(), count=1)
    (tmp_path / "scores.json").write_text(changed, encoding="utf-8")
    assert_refused(run_module("eval.report", tmp_path / "scores.json"), "scores.json", "schema version 77")
    assert_refused(run_module("eval.report", tmp_path / "none.json"), "none.json", "does not exist")
    assert_refused(run_module("eval.report"), "'scores' is required")
