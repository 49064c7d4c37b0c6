"""Metrics against scikit-learn and by hand; intervals against what is known of them."""

from __future__ import annotations

import numpy as np
import pytest
from eval_cases import predict
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import precision_recall_fscore_support
from sklearn.preprocessing import MultiLabelBinarizer

from eval import bootstrap as bootstrap_module
from eval.bootstrap import bootstrap, draw_weights
from eval.metrics import METRICS, Sums, collect_written, count, count_statuses, measure, weigh
from eval.predictions import Prediction

POOL = ("E11.621", "E11.9", "I10", "I21.3", "S72.001A", "S72.002A", "Z79.4")
REFUSED = ("E11.62", "Z99.999")


@st.composite
def many_predictions(draw: st.DrawFn, least: int = 1) -> list[Prediction]:
    rows = draw(
        st.lists(
            st.tuples(
                st.lists(st.sampled_from(POOL), min_size=1, max_size=4, unique=True),
                st.lists(st.sampled_from(POOL), max_size=4, unique=True),
                st.lists(st.sampled_from(REFUSED), max_size=2),
                st.sampled_from(("ok", "ok", "ok", "truncated")),
            ),
            min_size=least,
            max_size=25,
        )
    )
    return [
        predict(" ".join(right), " ".join(written), id=str(number), status=status, rejected=rejected)
        for number, (right, written, rejected, status) in enumerate(rows)
    ]


@given(many_predictions())
def test_precision_recall_and_f1_are_those_of_scikit_learn(predictions: list[Prediction]) -> None:
    right = [prediction.codes for prediction in predictions]
    written = [sorted(collect_written(prediction)) for prediction in predictions]
    labels = sorted({code for codes in right for code in codes})
    outside = sorted({code for codes in written for code in codes} - set(labels))
    binarizer = MultiLabelBinarizer(classes=[*labels, *outside, "never", "ever"])
    table, guess = binarizer.fit_transform(right), binarizer.transform(written)
    ours = measure(count(predictions))
    micro = precision_recall_fscore_support(table, guess, average="micro", zero_division=0)
    macro = precision_recall_fscore_support(table, guess, average="macro", labels=range(len(labels)), zero_division=0)
    for kind, theirs in (("micro", micro), ("macro", macro)):
        for name, value in zip(("precision", "recall", "f1"), theirs[:3], strict=True):
            assert ours[f"{kind}_{name}"] == pytest.approx(value, abs=1e-12)


def test_by_hand() -> None:
    predictions = [
        predict("E11.621 I10", "I10 E11.621"),  # right, in another order
        predict("E11.621 I10", "E11.9 I10"),  # right categories
        predict("I10", "I10", rejected=["E11.62"]),  # a heading besides
        predict("Z79.4", "Z79.4", status="truncated"),  # never a match
    ]
    values = measure(count(predictions))
    hits, written, true = 2 + 1 + 1 + 1, 2 + 2 + 2 + 1, 2 + 2 + 1 + 1
    assert values["exact_match"] == 1 / 4
    assert values["category_match"] == 2 / 4
    assert values["invalid_rate"] == 1 / 4
    assert values["micro_precision"] == pytest.approx(hits / written)
    assert values["micro_recall"] == pytest.approx(hits / true)
    assert values["macro_f1"] == pytest.approx((2 / 3 + 1 + 1) / 3)  # E11.621, I10, Z79.4; E11.9 has no positive
    assert values["macro_recall"] == pytest.approx((1 / 2 + 1 + 1) / 3)
    assert values["macro_precision"] == pytest.approx(1)


def test_a_rejected_code_is_wrong_and_not_dropped() -> None:
    clean, with_heading = (measure(count([predict("I10", "I10", rejected=more)])) for more in ([], ["E11.62"]))
    assert clean["exact_match"] == clean["micro_precision"] == 1
    assert (with_heading["exact_match"], with_heading["micro_precision"], with_heading["micro_recall"]) == (0, 0.5, 1)


def test_empty_answers_score_zero_without_a_warning() -> None:
    predictions = [predict("I10", status="unparsed", id="a"), predict("I10", status="error", id="b")]
    assert set(measure(count(predictions)).values()) == {0.0}
    assert count_statuses(predictions) == {"n_unparsed": 1, "n_error": 1, "n_truncated": 0}


@given(many_predictions(), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(predictions: list[Prediction], random: object) -> None:
    values = measure(count(predictions))
    shuffled = list(predictions)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert measure(count(shuffled)) == pytest.approx(values, abs=1e-12)
    assert measure(count(predictions * 3)) == pytest.approx(values, abs=1e-12)
    reversed_codes = [p._replace(codes=p.codes[::-1], predicted=p.predicted[::-1]) for p in predictions]
    assert measure(count(reversed_codes)) == pytest.approx(values, abs=1e-12)


@given(many_predictions())
def test_rates_are_rates_and_exact_is_rarer_than_category(predictions: list[Prediction]) -> None:
    values = measure(count(predictions))
    assert list(values) == list(METRICS)
    assert all(0 <= value <= 1 for value in values.values())
    assert values["exact_match"] <= values["category_match"]


@given(many_predictions(least=2), st.data())
def test_weights_mean_repetition(predictions: list[Prediction], data: st.DataObject) -> None:
    n = len(predictions)
    weights = data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n).filter(any))
    repeated = [p for p, weight in zip(predictions, weights, strict=True) for _ in range(weight)]
    sums: Sums = weigh(count(predictions), np.array([weights], dtype=float))
    expected = measure(count(repeated))
    for name, metric in METRICS.items():
        assert metric(sums)[0] == pytest.approx(expected[name], abs=1e-12), name


def build_mixture(n: int, n_right: int) -> list[Prediction]:
    return [predict("I10", "I10" if number < n_right else "E11.9", id=str(number)) for number in range(n)]


def test_interval_of_a_share_is_the_binomial_one() -> None:
    low, high = bootstrap(count(build_mixture(400, 320)), n_boot=4000)["exact_match"]
    half_width = 1.96 * np.sqrt(0.8 * 0.2 / 400)
    assert low == pytest.approx(0.8 - half_width, abs=0.006)
    assert high == pytest.approx(0.8 + half_width, abs=0.006)


def test_intervals_hold_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        low, high = bootstrap(count(build_mixture(200, int(rng.binomial(200, 0.7)))), n_boot=300)["exact_match"]
        held += low <= 0.7 <= high
    assert 0.91 <= held / 300 <= 0.98


def test_bootstrap_depends_on_the_seed_and_not_on_the_memory_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = count(build_mixture(97, 60))
    first = bootstrap(tally, n_boot=301, seed=4)
    assert bootstrap(tally, n_boot=301, seed=4) == first
    assert bootstrap(tally, n_boot=301, seed=5) != first
    monkeypatch.setattr(bootstrap_module, "_CELLS", 97 * 7)
    assert bootstrap(tally, n_boot=301, seed=4) == first


def test_resamples_have_the_size_of_the_sample() -> None:
    weights = draw_weights(13, 50, np.random.default_rng(0))
    assert weights.shape == (50, 13)
    assert (weights.sum(axis=1) == 13).all()


def test_an_interval_without_any_mistake_has_no_width() -> None:
    assert bootstrap(count(build_mixture(30, 30)), n_boot=100)["exact_match"] == (1, 1)
