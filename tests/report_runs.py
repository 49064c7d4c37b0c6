"""Predictions drawn by chance, seeded, and scored for real; their report, and what a reader finds in it."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from eval_cases import write_run

from data_gen.examples import Example, write_examples
from eval.predictions import Prediction, ScoredCode
from eval.report import run
from eval.score import run as run_score
from icd10cm import CodeSet
from icd10cm.run_header import build_header, write_json

SCENARIOS = ("base", "reordered", "abbreviated", "typo", "multiple", "paraphrased")
SKILLS = {
    "stage 1": {"base": 0.98, "reordered": 0.7, "abbreviated": 0.5, "typo": 0.6, "multiple": 0.2, "paraphrased": 0.2},
    "stage 2": {"base": 0.99, "reordered": 0.96, "abbreviated": 0.92, "typo": 0.93, "multiple": 0.85, "paraphrased": 0.55},
    "floor": {"base": 1.0, "reordered": 0.95, "abbreviated": 0.6, "typo": 0.94, "multiple": 0.4, "paraphrased": 0.25},
}
"""Share of codes that each engine gets right, by scenario."""
VOID = {"meta", "br", "link", "img", "input", "hr"}


def draw_titles(codes: CodeSet, n: int, seed: int = 1) -> list[Example]:
    """Return `n` short texts, a few codes each where the scenario says so."""
    seeded = random.Random(seed)
    examples = []
    for number in range(n):
        scenario = SCENARIOS[number % len(SCENARIOS)]
        right = tuple(seeded.sample(codes.codes, 3 if scenario == "multiple" else 1))
        text = "; ".join(codes.title(code) for code in right)
        held_out = "code" if number % 5 == 0 else "variant"
        examples.append(Example(f"{scenario}-{number}", scenario, text, right, "test", "hand", codes.release, held_out))
    return examples


def draw_notes(codes: CodeSet, n: int, seed: int = 2) -> list[Example]:
    """Return `n` notes of up to a dozen codes out of 120, two or three of a patient."""
    seeded = random.Random(seed)
    common = seeded.sample(codes.codes, 120)
    examples = []
    for number in range(n):
        right = tuple(dict.fromkeys(common[min(int(seeded.expovariate(1 / 25)), 119)] for _ in range(seeded.randint(2, 12))))
        text = "SECRET PASSAGE. " + "; ".join(codes.title(code) for code in right) * seeded.randint(1, 20)
        race = seeded.choices(("white", "black", "asian", "other"), (70, 20, 8, 2))[0]
        attributes = (("age_group", seeded.choice(("18-44", "45-64", "65+"))), ("race", race), ("sex", seeded.choice("FM")))
        facts = {"patient": f"p{number // 2}", "attributes": attributes}
        examples.append(Example(f"hadm-{number}", "note", text, right, "test", "mimic_iv", codes.release, **facts))
    return examples


def answer(
    example: Example, skill: float, codes: CodeSet, seeded: random.Random, ranked: int = 0, likeness: bool = False
) -> Prediction:
    """Return an answer that has each code right with the chance `skill`, else often a near one; `likeness`: scores above 0."""
    written: list[ScoredCode] = []
    for code in example.codes:
        right = seeded.random() < skill
        place = codes.codes.index(code) + seeded.choice((-2, -1, 1, 2)) if not right else 0
        chosen = code if right else codes.codes[place % len(codes)] if seeded.random() < 0.6 else seeded.choice(codes.codes)
        sure = -abs(seeded.gauss(0.08 if right else 0.9, 0.4))
        sure = math.exp(sure) if likeness else sure
        if chosen not in [one.code for one in written]:
            written.append(ScoredCode(chosen, round(sure, 4)))
    drawn = seeded.random()
    status = "truncated" if drawn < 0.004 else "ok"
    rejected = ("E11.62",) if 0.01 < drawn < 0.014 else ("I84.1",) if 0.02 < drawn < 0.024 else ()
    ranking = ()
    if ranked:
        others = [code for code in seeded.sample(codes.codes, ranked) if code not in {one.code for one in written}]
        missing = [code for code in example.codes if code not in {one.code for one in written} and seeded.random() < 0.5]
        tail = [ScoredCode(code, round(-2 - 3 * seeded.random(), 4)) for code in dict.fromkeys([*missing, *others])]
        ranking = tuple(sorted([*written, *tail], key=lambda one: (-(one.score or 0), one.code)))
    facts = {"held_out": example.held_out} if example.held_out else {}
    attributes = tuple(sorted({**dict(example.attributes), **facts}.items()))
    output = ", ".join(one.code for one in written)
    return Prediction(
        example.id, example.scenario, example.codes, tuple(written), output, status, rejected, ranking,
        example.patient, attributes, len(example.text),
    )  # fmt: skip


def score_engines(
    folder: Path,
    examples: Sequence[Example],
    codes: CodeSet,
    skills: dict[str, dict[str, float]],
    ranked: int = 0,
    beside: dict[str, Any] | None = None,
    **facts: Any,
) -> dict[str, Path]:
    """Write predictions of each engine of `skills` and score them; returns the scores files by engine.

    Args:
        folder: where to write; the data file goes there too.
        examples: what is answered.
        codes: the release.
        skills: engine to the share of codes it gets right, by scenario.
        ranked: codes to rank besides those written; none when 0.
        beside: what the run.json beside the data file says; none when None.
        facts: more of the predictions' headers.
    """
    data = folder / "data" / "test.jsonl"
    write_examples(data, examples)
    if beside is not None:
        write_json(data.with_name("run.json"), build_header("eval.corpora.prepare", {}, release=codes.release, **beside))
    found = {}
    for name, by_scenario in skills.items():
        seeded = random.Random(name)
        predictions = [
            answer(example, by_scenario[example.scenario], codes, seeded, ranked, name == "floor") for example in examples
        ]
        engine = "floor" if name == "floor" else "transformers"
        known = {
            "engine": engine,
            "data": str(data),
            "inputs": [data],
            "score_source": "cosine" if name == "floor" else "logprob",
        }
        path = write_run(folder / name, predictions, **known | facts)
        assert run_score([str(path), "--n-boot", "100"]) == 0
        found[name] = path.with_name("scores.json")
    return found


def write_report(tmp_path: Path, scores: list[Path], *more: object) -> str:
    """Write the report of some scores into a folder; returns the page."""
    assert run([*map(str, scores), "--output", str(tmp_path / "report.html"), *map(str, more)]) == 0
    return (tmp_path / "report.html").read_text(encoding="utf-8")


def read_report(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def list_engines(found: dict[str, Path]) -> list[Path]:
    return [path for name, path in found.items() if name != "pair"]


class Reader(HTMLParser):
    """Checks that tags close in order; collects the text, the headings, the ids and what tables lack."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []
        self.levels: list[int] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.problems: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        if "id" in given:
            self.ids.append(str(given["id"]))
        if re.fullmatch("h[1-6]", tag):
            self.levels.append(int(tag[1]))
        if tag == "th" and given.get("scope") not in ("row", "col"):
            self.problems.append("th without scope")
        if tag == "svg" and not given.get("aria-label") and given.get("aria-hidden") != "true":
            self.problems.append("svg without text")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"style", "svg"} & set(self.open):
            self.text.append(data)


def read_page(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    assert reader.open == []
    return reader


def read_text(page: str) -> str:
    return " ".join(" ".join(read_page(page).text).split())


def check_readable(page: str) -> None:
    """Assert that a page is in order for those who hear it: headings, captions, ids, landmarks."""
    reader = read_page(page)
    assert reader.problems == []
    assert reader.levels[0] == 1 and reader.levels.count(1) == 1
    assert all(after - before <= 1 for before, after in zip(reader.levels, reader.levels[1:], strict=False))
    assert sorted(set(reader.ids)) == sorted(reader.ids)
    assert reader.tags.count("table") == reader.tags.count("caption")
    assert [reader.tags.count(tag) for tag in ("header", "nav", "main", "footer")] == [1, 1, 1, 1]
