"""python -m eval.paired: who gets what right, differences with intervals, and files that cannot be compared."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from eval_cases import predict, write_run
from scipy.stats import binomtest

from eval.metrics import measure
from eval.paired import build_paired, run
from eval.predictions import Prediction
from eval.scoring.bootstrap import Resampling, bootstrap
from eval.scoring.cases import build_cases
from eval.scoring.tally import count
from icd10cm import CodeSet
from icd10cm.cli import COMMANDS

RIGHT, WRONG = "I10", "J18.9"


def answer(outcomes: str, scenario: str = "typo", first: int = 0) -> list[Prediction]:
    """One prediction a letter: `+` is right, `-` wrong."""
    return [
        predict(RIGHT, RIGHT if outcome == "+" else WRONG, id=f"{scenario}{first + number:04}", scenario=scenario)
        for number, outcome in enumerate(outcomes)
    ]


def test_who_gets_what_right(codes: CodeSet) -> None:
    a = [*answer("++-", "multiple"), *answer("++--+")]
    b = [*answer("+--", "multiple"), *answer("+-+--")]
    found = build_paired(a, b, codes, Resampling(100), n_ids=1)
    assert list(found["scenarios"]) == ["typo", "multiple"]
    typo = found["scenarios"]["typo"]
    assert typo["cases"] == {"both": 1, "only_a": 2, "only_b": 1, "neither": 1, "union": 4}
    assert typo["ids"] == {"both": ["typo0000"], "only_a": ["typo0001"], "only_b": ["typo0002"], "neither": ["typo0003"]}
    assert found["overall"]["cases"] == {"both": 2, "only_a": 3, "only_b": 1, "neither": 2, "union": 6}
    rate = typo["rates"]["exact_match"]
    assert (rate["a"], rate["b"], rate["difference"]) == (3 / 5, 2 / 5, pytest.approx(1 / 5))


def test_the_same_twice_is_no_difference(codes: CodeSet) -> None:
    a = answer("+-" * 20)
    for rate in build_paired(a, a, codes, Resampling(100))["overall"]["rates"].values():
        assert (rate["difference"], rate["low"], rate["high"], rate["p"]) == (0, 0, 0, 1)


def test_rates_are_those_of_each_and_turn_round(codes: CodeSet) -> None:
    rng = np.random.default_rng(0)
    a, b = (answer("".join(rng.choice(["+", "-"], 80, p=[share, 1 - share]))) for share in (0.7, 0.5))
    there = build_paired(a, b, codes, Resampling(400))["overall"]["rates"]
    back = build_paired(b, a, codes, Resampling(400))["overall"]["rates"]
    values = measure(count(build_cases(a)))
    for name, rate in there.items():
        assert rate["a"] == pytest.approx(values[name], abs=1e-9)
        assert [rate["low"], rate["high"]] == pytest.approx([-back[name]["high"], -back[name]["low"]], abs=1e-9)
        assert rate["p"] == back[name]["p"]


def test_p_is_near_that_of_the_exact_test_on_the_cases_that_differ(codes: CodeSet) -> None:
    a, b = answer("+" * 100 + "+" * 30 + "-" * 14 + "-" * 56), answer("+" * 100 + "-" * 30 + "+" * 14 + "-" * 56)
    rate = build_paired(a, b, codes, Resampling(4000))["overall"]["rates"]["exact_match"]
    exact = binomtest(30, 44).pvalue
    assert exact / 2 < rate["p"] < exact * 1.5
    assert 0 < rate["low"] < rate["difference"] == 0.08 < rate["high"]
    alone = bootstrap(count(build_cases(a)), 4000)["exact_match"]
    assert rate["high"] - rate["low"] < (alone[1] - alone[0]) * 1.2, "what is hard for both cancels out"


def test_patients_are_drawn_whole(codes: CodeSet) -> None:
    a, b = answer("+++-" * 10), answer("++--" * 10)
    widths = []
    for size in (1, 4):
        pair = [[p._replace(patient=f"p{number // size}") for number, p in enumerate(one)] for one in (a, b)]
        found = build_paired(pair[0], pair[1], codes, Resampling(400))
        assert (found["scoring"]["unit"], found["overall"]["n_patients"]) == ("patients", 40 // size)
        widths.append(found["overall"]["rates"]["exact_match"]["high"] - found["overall"]["rates"]["exact_match"]["low"])
    assert widths[1] == 0 < widths[0], "each patient of four differs by one case"


def test_command_writes_what_the_report_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (write_run(tmp_path / name, answer(outcomes)) for name, outcomes in (("model", "++-"), ("floor", "+--")))
    output = tmp_path / "paired.json"
    assert COMMANDS["paired"][0] == "eval.paired"
    assert run([str(a), str(b), "--output", str(output), "--n-boot", "100"]) == 0
    paired = json.loads(output.read_text())
    assert (paired["schema_version"], paired["a"]["label"], paired["b"]["label"]) == (1, "model", "floor")
    assert paired["overall"]["cases"]["only_a"] == 1
    assert "A: model    B: floor" in capsys.readouterr().out
    first = output.read_bytes()
    a.write_text("".join(reversed(a.read_text().splitlines(keepends=True))))
    assert run([str(a), str(b), "--output", str(output), "--n-boot", "100"]) == 0
    again = json.loads(output.read_text())
    assert first != output.read_bytes() and again["overall"] == paired["overall"], "only the file's hash has changed"
    output.unlink()
    assert run([str(a), str(b), "--output", str(output), "--dry-run"]) == 0
    assert not output.exists()


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"id": "other"}, ("2 examples are in one file only", "'other'")),
        ({"codes": ("E11.9",)}, ("codes of 'typo0000' not as in",)),
        ({"scenario": "base"}, ("scenario of 'typo0000' not as in",)),
        ({"patient": "p1"}, ("patient of 'typo0000' not as in",)),
    ],
)
def test_other_examples_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, object], parts: tuple[str, ...]
) -> None:
    a, b = answer("++-"), answer("+--")
    b[0] = b[0]._replace(**change)
    paths = [str(write_run(tmp_path / name, predictions)) for name, predictions in (("a", a), ("b", b))]
    assert run([*paths, "--output", str(tmp_path / "paired.json")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert all(part in line for part in parts), line
    assert not (tmp_path / "paired.json").exists()


def test_it_takes_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(write_run(tmp_path / "a", answer("+")))]) == 2
    assert "predictions" in capsys.readouterr().err
