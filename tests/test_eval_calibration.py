"""Calibration, coverage and the threshold: by hand, against scikit-learn, and against what was planted."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from eval_cases import predict
from sklearn.metrics import brier_score_loss

from eval.metrics import measure
from eval.predictions import Prediction, ScoredCode
from eval.scoring.calibration import (
    Sure,
    build_calibration,
    collect_answers,
    collect_codes,
    describe,
    find_cluster_interval,
    fit_isotonic,
    fit_temperature,
)
from eval.scoring.cases import build_cases
from eval.scoring.tally import count
from eval.scoring.threshold import apply_threshold, choose_threshold
from icd10cm.errors import DataError


def score(right: str, *written: tuple[str, float | None], id: str = "1", **more: object) -> Prediction:
    scored = tuple(ScoredCode(*pair) for pair in written)
    return predict(right, id=id)._replace(predicted=scored, **more)


def be_sure(confidences: Sequence[float], right: Sequence[float]) -> Sure:
    return Sure(np.array(confidences), np.array(right, dtype=float), np.arange(len(right)))


def draw_sure(n: int, power: float, seed: int) -> Sure:
    """Confidences whose true chance of being right is their `power`."""
    rng = np.random.default_rng(seed)
    confidences = rng.beta(5, 2, n)
    return be_sure(confidences, rng.random(n) < confidences**power)


def test_figures_by_hand() -> None:
    found = describe(be_sure([0.95, 0.95, 0.55, 0.55, 0.55, 0.05], [1, 1, 1, 0, 0, 0]))
    assert found["ece"] == pytest.approx((2 * 0.05 + 3 * (0.55 - 1 / 3) + 0.05) / 6, abs=1e-9)
    assert found["brier"] == pytest.approx((2 * 0.05**2 + 0.45**2 + 2 * 0.55**2 + 0.05**2) / 6, abs=1e-9)
    assert [(one["n"], one["accuracy"]) for one in found["bins"]] == [(1, 0), (3, round(1 / 3, 10)), (2, 1)]
    assert found["bins"][1]["low"] < 0.55 <= found["bins"][1]["high"]
    assert [(point["coverage"], point["threshold"]) for point in found["curve"]] == [
        (round(2 / 6, 10), 0.95), (round(5 / 6, 10), 0.55), (1, 0.05),
    ]  # fmt: skip
    assert found["coverage_at_95"] == round(2 / 6, 10)


def test_brier_is_that_of_scikit_learn_and_order_and_repetition_change_nothing() -> None:
    sure = draw_sure(500, 2, seed=1)
    found = describe(sure)
    assert found["brier"] == pytest.approx(brier_score_loss(sure.right, sure.confidences), abs=1e-9)
    shuffled = np.random.default_rng(0).permutation(500)
    assert describe(Sure(*(array[shuffled] for array in sure))) == found
    twice = describe(Sure(*(np.concatenate([array, array]) for array in sure)))
    for name in ("ece", "ece_mass", "brier", "coverage_at_95"):
        assert twice[name] == pytest.approx(found[name], abs=1e-9), name


def test_bins_of_equal_mass_keep_equal_confidences_together() -> None:
    half_right = be_sure([0.5] * 100, [1, 0] * 50)
    assert describe(half_right)["ece_mass"] == describe(half_right)["ece"] == 0


def test_what_is_well_calibrated_has_a_small_error_and_what_is_not_a_large_one() -> None:
    good, bad = describe(draw_sure(20_000, 1, seed=2)), describe(draw_sure(20_000, 4, seed=2))
    assert good["ece"] < 0.015 and good["ece_mass"] < 0.015
    assert bad["ece"] > 0.2 and bad["brier"] > good["brier"]


@pytest.mark.parametrize("source", ["logprob", "sampling", "cosine", "search"])
def test_confidence_is_the_score_or_its_exponential(source: str) -> None:
    sure = collect_codes([score("I10", ("I10", -0.5 if source == "logprob" else 0.25), ("J18.9", None))], source)
    assert sure.confidences.tolist() == [math.exp(-0.5) if source == "logprob" else 0.25]
    assert sure.right.tolist() == [1]


def test_answers_have_the_product_and_none_when_not_whole() -> None:
    predictions = [
        score("I10 J18.9", ("I10", 0.5), ("J18.9", 0.8), id="a"),
        score("I10", ("I10", 0.9), id="b", status="truncated"),
        score("I10", ("I10", 0.9), id="c", rejected=("E11.62",)),
        score("I10", id="d", status="unparsed"),
    ]
    sure = collect_answers(predictions, "cosine")
    assert sure.confidences == pytest.approx([0.4, 0, 0, 0])
    assert sure.right.tolist() == [1, 0, 0, 0]


def test_temperature_is_found_again() -> None:
    calibrate = fit_temperature(draw_sure(20_000, 3, seed=3))
    assert calibrate.parameters["temperature"] == pytest.approx(1 / 3, rel=0.05)
    assert calibrate(np.array([0.5])) == pytest.approx([0.125], abs=0.02)


@pytest.mark.parametrize("fit", [fit_temperature, fit_isotonic])
def test_calibration_on_validation_lowers_the_error_elsewhere(fit: object) -> None:
    calibrate = fit(draw_sure(3_000, 3, seed=4))  # type: ignore[operator]
    test = draw_sure(3_000, 3, seed=5)
    before, after = describe(test), describe(test._replace(confidences=calibrate(test.confidences)))
    assert after["ece"] < 0.04 < 0.2 < before["ece"]
    assert after["brier"] < before["brier"]


def test_an_interval_of_a_share_knows_patients() -> None:
    right = np.array([1.0] * 8 + [0.0] * 2)
    assert find_cluster_interval(right, np.arange(10)) == pytest.approx((0.490, 0.943), abs=0.001)  # Wilson's, from a table
    fourfold = find_cluster_interval(np.repeat(right, 4), np.repeat(np.arange(10), 4))
    assert fourfold == pytest.approx((0.490, 0.943), abs=0.001)
    apart = find_cluster_interval(np.repeat(right, 4), np.arange(40))
    assert fourfold[0] < apart[0] and apart[1] < fourfold[1]
    low, high = find_cluster_interval(np.ones(12), np.repeat(np.arange(3), 4))
    assert low == pytest.approx(3 / (3 + 1.96**2), abs=0.001) and high == 1


def test_before_and_after_stand_side_by_side() -> None:
    rng = np.random.default_rng(6)

    def draw(n: int, first: int) -> list[Prediction]:
        chances = rng.beta(5, 2, n)
        return [
            score("I10", ("I10" if rng.random() < chance**3 else "J18.9", math.log(chance)), id=str(first + number))
            for number, chance in enumerate(chances)
        ]

    test, validation = draw(400, 0), draw(400, 1000)
    found = build_calibration(test, "logprob", validation)
    assert found is not None and found["temperature"] == pytest.approx(1 / 3, rel=0.25)
    assert found["after"]["ece"] < found["ece"] == build_calibration(test, "logprob")["ece"]  # type: ignore[index]
    assert found["after"]["coverage_at_95"] == found["coverage_at_95"], "an increasing map keeps the order"
    assert found["n"] == found["answers"]["n"] == 400
    chosen = found["after"]["chosen_at_95"]
    kept = [p for p in test if math.exp(p.predicted[0].score or 0) >= chosen["threshold"] - 1e-9]
    assert chosen["coverage"] == pytest.approx(len(kept) / 400)
    assert chosen["accuracy"] == pytest.approx(np.mean([p.predicted[0].code == "I10" for p in kept]), abs=1e-9)


def test_without_scores_there_is_nothing_to_calibrate() -> None:
    assert build_calibration([score("I10", ("I10", None))], "logprob") is None
    with pytest.raises(DataError, match="have no scores"):
        build_calibration([score("I10", ("I10", -1.0))], "logprob", [score("I10", ("I10", None))])


def draw_ranked(seed: int, ranked: bool) -> list[Prediction]:
    rng = np.random.default_rng(seed)
    pool = ["I10", "J18.9", "E11.9", "Z79.4"]
    found = []
    for number in range(30):
        right = rng.choice(pool, rng.integers(1, 4), replace=False).tolist()
        scores = {code: round(float(rng.random() + (code in right)) / 2, 1) for code in pool}
        ranking = tuple(ScoredCode(*pair) for pair in sorted(scores.items(), key=lambda pair: -pair[1]))
        prediction = score(" ".join(right), *ranking[:2], id=str(number), rejected=("E11.62",) if number % 9 == 0 else ())
        found.append(prediction._replace(ranking=ranking if ranked else ()))
    return found


@pytest.mark.parametrize("ranked", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_threshold_is_the_best_of_all(seed: int, ranked: bool) -> None:
    predictions = draw_ranked(seed, ranked)

    def try_out(threshold: float) -> float:
        return measure(count(build_cases(apply_threshold(predictions, threshold))))["micro_f1"]

    tried = {tenth / 10: try_out(tenth / 10) for tenth in range(11)}
    threshold, best = choose_threshold(predictions)
    assert best == pytest.approx(max(tried.values()), abs=1e-9) == pytest.approx(try_out(threshold), abs=1e-9)
    assert all(value < best for other, value in tried.items() if other > threshold + 1e-9)


def test_a_threshold_adds_from_the_ranking_and_takes_away_without() -> None:
    ranking = (ScoredCode("I10", 0.9), ScoredCode("J18.9", 0.4))
    prediction = score("I10", ("I10", 0.9), rejected=("E11.62",))
    (wide,) = apply_threshold([prediction._replace(ranking=ranking)], 0.4)
    assert (wide.predicted, wide.rejected, wide.ranking) == (ranking, (), ())
    (narrow,) = apply_threshold([prediction], 0.95)
    assert (narrow.predicted, narrow.rejected) == ((), ("E11.62",))


def test_a_threshold_needs_scores() -> None:
    for predictions in ([score("I10", ("I10", None))], [score("I10")]):
        with pytest.raises(DataError, match="score"):
            choose_threshold(predictions)
