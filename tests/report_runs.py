"""Predictions drawn by chance, seeded, and scored for real: what the tests of the report show."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval_cases import write_run

from data_gen.examples import Example, write_examples
from eval.predictions import Prediction, ScoredCode
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
