"""The floor: nearest titles, on real titles and on texts that no rule of ours wrote."""

from __future__ import annotations

import json
import resource
from collections import defaultdict
from pathlib import Path

import pytest

from eval.floors.titles import Floor
from icd10cm import CodeSet
from serving.engines.base import Generation

SLICE = ("E11.621", "E11.9", "I10", "J45.909", "M10.9", "M17.11", "M17.12")


@pytest.fixture(scope="module")
def floor(codes: CodeSet) -> Floor:
    return Floor(codes, SLICE, progress=False)


def test_titles_find_themselves_and_misspelled_ones_too(codes: CodeSet, floor: Floor) -> None:
    answers = floor.generate([codes.title(code) for code in SLICE])
    assert [answer.text for answer in answers] == list(SLICE)
    assert all(answer.score == pytest.approx(1, abs=1e-5) and answer.finish_reason == "stop" for answer in answers)
    misspelled = floor.generate(["Unilatral primry osteoarthrits, left nee"])[0]
    assert misspelled.text == "M17.12"
    assert misspelled.score is not None
    assert 0 < misspelled.score < 1


def test_only_candidates_are_answered(codes: CodeSet) -> None:
    assert Floor(codes, ["M10.9"], progress=False).generate(["gout and asthma"])[0].text == "M10.9"


def test_a_text_without_any_common_letters_has_no_answer(floor: Floor) -> None:
    assert floor.generate(["zzqqxx", ""])[0] == Generation("", "stop", 0.0)


def test_answers_do_not_depend_on_the_company(floor: Floor) -> None:
    texts = [f"gout number {number}; asthma" for number in range(300)]
    together = floor.generate(texts)
    assert together[::50] == [floor.generate([text])[0] for text in texts[::50]]


@pytest.mark.slow
def test_all_codes_on_texts_from_outside(codes: CodeSet, shared_data: Path) -> None:
    """Thresholds are a little under what was measured: 99.7, 78.5, 93.0, 71.4 and 18.7 %."""
    texts: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for path in sorted((shared_data / "external_dev").glob("*.jsonl")):
        for row in map(json.loads, path.read_text(encoding="utf-8").splitlines()):
            texts[row["scenario"]].append((row["text"], row["codes"][0]))
    floor = Floor(codes, progress=False)
    least = {"typo": 0.99, "abbreviated": 0.77, "reorder": 0.91, "near_title": 0.69, "paraphrase": 0.17}
    for scenario, threshold in least.items():
        answers = floor.generate([text for text, _ in texts[scenario]])
        right = sum(answer.text == code for answer, (_, code) in zip(answers, texts[scenario], strict=True))
        assert right / len(answers) >= threshold, scenario
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 3_000_000, "kilobytes; over 3 GB"
