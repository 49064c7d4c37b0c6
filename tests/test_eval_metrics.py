"""Metrics against scikit-learn and by hand."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from eval_cases import predict
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as theirs
from sklearn.preprocessing import MultiLabelBinarizer

from eval.metrics import METRICS, RANKED_METRICS, measure, measure_weighted
from eval.predictions import Prediction, ScoredCode
from eval.scoring.cases import build_cases, collect_written, find_right_codes, restrict
from eval.scoring.tally import count

POOL = ("E11.621", "E11.9", "I10", "I21.3", "S72.001A", "S72.002A", "Z79.4")
REFUSED = ("E11.62", "Z99.999")
FEW = settings(max_examples=40)
OF_THE_WHOLE = {"hamming_loss", "auc_micro", "auc_macro"}
"""Metrics that are not those of the resample as a data set: label set of the whole group, areas by their linear part."""


def rank(prediction: Prediction, ranking: Sequence[tuple[str, float | None]]) -> Prediction:
    return prediction._replace(ranking=tuple(ScoredCode(*scored) for scored in ranking))


@st.composite
def many_predictions(draw: st.DrawFn, least: int = 1, ranked: bool = False) -> list[Prediction]:
    rows = draw(
        st.lists(
            st.tuples(
                st.lists(st.sampled_from(POOL), min_size=1, max_size=4, unique=True),
                st.lists(st.sampled_from(POOL), max_size=4, unique=True),
                st.lists(st.sampled_from(REFUSED), max_size=2),
                st.sampled_from(("ok", "ok", "ok", "truncated")),
                st.dictionaries(st.sampled_from(POOL), st.integers(0, 5)) if ranked else st.just({}),
                st.sampled_from(("", "p1", "p2")),
            ),
            min_size=least,
            max_size=25,
        )
    )
    return [
        rank(
            predict(" ".join(right), " ".join(written), id=str(number), status=status, rejected=rejected),
            sorted(scores.items(), key=lambda item: -item[1]),
        )._replace(patient=patient)
        for number, (right, written, rejected, status, scores, patient) in enumerate(rows)
    ]


def measure_all(predictions: Sequence[Prediction], closed: bool = False) -> dict[str, float]:
    cases = build_cases(predictions)
    return measure(count(restrict(cases, codes=find_right_codes(cases)) if closed else cases))


def list_labels(predictions: Sequence[Prediction]) -> list[str]:
    return sorted({code for prediction in predictions for code in prediction.codes})


@FEW
@given(many_predictions())
def test_open_set_is_scikit_learn_over_all_codes_with_macro_over_the_right_ones(predictions: list[Prediction]) -> None:
    right = [prediction.codes for prediction in predictions]
    written = [sorted(collect_written(prediction)) for prediction in predictions]
    labels = list_labels(predictions)
    outside = sorted({code for codes in written for code in codes} - set(labels))
    binarizer = MultiLabelBinarizer(classes=[*labels, *outside, "never", "ever"])
    table, guess = binarizer.fit_transform(right), binarizer.transform(written)
    ours = measure_all(predictions)
    micro = theirs.precision_recall_fscore_support(table, guess, average="micro", zero_division=0)
    macro = theirs.precision_recall_fscore_support(table, guess, average="macro", labels=range(len(labels)), zero_division=0)
    for kind, found in (("micro", micro), ("macro", macro)):
        for name, value in zip(("precision", "recall", "f1"), found[:3], strict=True):
            assert ours[f"{kind}_{name}"] == pytest.approx(value, abs=1e-9)
    assert ours["samples_f1"] == pytest.approx(theirs.f1_score(table, guess, average="samples", zero_division=0), abs=1e-9)
    assert ours["jaccard"] == pytest.approx(theirs.jaccard_score(table, guess, average="samples", zero_division=0), abs=1e-9)
    scale = table.shape[1] / len(labels)
    assert ours["hamming_loss"] == pytest.approx(theirs.hamming_loss(table, guess) * scale, abs=1e-9)
    complete = [prediction.status == "ok" for prediction in predictions]
    assert ours["exact_match"] == pytest.approx(np.mean((table == guess).all(axis=1) & complete), abs=1e-9)


@FEW
@given(many_predictions())
def test_closed_set_is_scikit_learn_over_the_right_codes(predictions: list[Prediction]) -> None:
    labels = list_labels(predictions)
    binarizer = MultiLabelBinarizer(classes=[*labels, "never", "ever"]).fit([])
    table = binarizer.transform([prediction.codes for prediction in predictions])[:, : len(labels)]
    kept = [sorted(collect_written(prediction) & set(labels)) for prediction in predictions]
    guess = binarizer.transform(kept)[:, : len(labels)]
    ours = measure_all(predictions, closed=True)
    for average in ("micro", "macro"):
        found = theirs.precision_recall_fscore_support(table, guess, average=average, zero_division=0)
        for name, value in zip(("precision", "recall", "f1"), found[:3], strict=True):
            if len(labels) > 1:  # one column alone is a binary problem to scikit-learn
                assert ours[f"{average}_{name}"] == pytest.approx(value, abs=1e-9)
    assert ours["hamming_loss"] == pytest.approx(np.mean(table != guess), abs=1e-9)


@FEW
@given(many_predictions(least=2, ranked=True))
def test_areas_are_those_of_scikit_learn_with_the_unranked_in_the_last_place(predictions: list[Prediction]) -> None:
    labels = list_labels(predictions)
    table = np.array([[label in prediction.codes for label in labels] for prediction in predictions])
    scores = np.array([[dict(p.ranking).get(label, -1.0) for label in labels] for p in predictions])
    ours = measure_all(predictions)
    if not any(prediction.ranking for prediction in predictions):
        assert not RANKED_METRICS.keys() & ours.keys()
        return
    if table.all():
        assert ours["auc_micro"] == 0
    else:
        assert ours["auc_micro"] == pytest.approx(theirs.roc_auc_score(table.ravel(), scores.ravel()), abs=1e-9)
    both = [column for column in range(len(labels)) if not table[:, column].all()]
    areas = [theirs.roc_auc_score(table[:, column], scores[:, column]) for column in both]
    assert ours["auc_macro"] == pytest.approx(np.mean(areas) if areas else 0, abs=1e-9)


@FEW
@given(st.integers(2, 7), st.randoms(use_true_random=False))
def test_average_precision_is_that_of_scikit_learn_where_all_codes_are_ranked(n_right: int, rng: random.Random) -> None:
    right, ranking = rng.sample(POOL, n_right), rng.sample(POOL, len(POOL))
    scores = dict(zip(ranking, range(len(ranking), 0, -1), strict=True))
    table = np.array([[code in right for code in POOL]])
    expected = theirs.average_precision_score(table, [[scores[code] for code in POOL]], average="samples")
    ours = measure_all([rank(predict(" ".join(right)), list(scores.items()))])
    assert ours["map"] == pytest.approx(expected, abs=1e-9)


def test_sets_by_hand() -> None:
    predictions = [
        predict("E11.621 I10", "I10 E11.621"),  # right, in another order
        predict("E11.621 I10", "E11.9 I11.0"),  # right chapters, one right category
        predict("I10", "I10", rejected=["E11.62"]),  # a heading besides
        predict("Z79.4", "Z79.4", status="truncated"),  # never a match
    ]
    values = measure_all(predictions)
    hits, written, right = 2 + 0 + 1 + 1, 2 + 2 + 2 + 1, 2 + 2 + 1 + 1
    assert values["exact_match"] == values["category_match"] == values["invalid_rate"] == 1 / 4
    assert values["chapter_match"] == 2 / 4
    assert values["micro_precision"] == pytest.approx(hits / written)
    assert values["micro_recall"] == pytest.approx(hits / right)
    macro_precision, macro_recall = 1, (1 / 2 + 2 / 3 + 1) / 3  # E11.621, I10, Z79.4; the others have no positive
    assert values["macro_f1"] == pytest.approx((2 / 3 + 4 / 5 + 1) / 3)
    assert values["macro_precision"] == pytest.approx(macro_precision)
    assert values["macro_recall"] == pytest.approx(macro_recall)
    assert values["macro_f1_caml"] == pytest.approx(2 * macro_precision * macro_recall / (macro_precision + macro_recall))
    assert values["jaccard"] == pytest.approx((1 + 0 + 1 / 2 + 1) / 4)
    assert values["hamming_loss"] == pytest.approx((0 + 4 + 1 + 0) / (4 * 3))


def test_rankings_by_hand() -> None:
    first = rank(predict("I10 E11.9 Z79.4"), [("I10", 0.9), ("J18.9", 0.5), ("E11.9", 0.4)])
    second = rank(predict("J18.9"), [("I10", 0.8), ("J18.9", 0.7)])
    values = measure_all([first, second])
    assert values["precision_at_1"] == 1 / 2
    assert values["precision_at_5"] == (2 / 5 + 1 / 5) / 2
    assert values["recall_at_1"] == (1 / 3 + 0) / 2
    assert values["recall_at_15"] == (2 / 3 + 1) / 2
    assert values["r_precision"] == (2 / 3 + 0) / 2
    assert values["map"] == pytest.approx(((1 + 2 / 3) / 3 + 1 / 2) / 2)
    # positives .9 .7 .4 and one unranked; negatives .8 .5 and two unranked
    assert values["auc_micro"] == pytest.approx((4 + 3 + 2 + 2 / 2) / 16)
    assert values["auc_macro"] == pytest.approx((1 + 1 + 1 / 2 + 1) / 4)  # I10, E11.9, Z79.4, J18.9


def test_areas_need_a_score_for_every_ranked_code_and_places_do_not() -> None:
    values = measure_all([rank(predict("I10"), [("I10", 0.5), ("J18.9", None)])])
    assert values["map"] == 1
    assert "auc_micro" not in values


def test_a_rejected_code_is_wrong_and_not_dropped() -> None:
    clean, with_heading = (measure_all([predict("I10", "I10", rejected=more)]) for more in ([], ["E11.62"]))
    assert clean["exact_match"] == clean["micro_precision"] == 1
    assert (with_heading["exact_match"], with_heading["micro_precision"], with_heading["micro_recall"]) == (0, 0.5, 1)


def test_what_is_right_nowhere_counts_as_wrong_but_in_the_closed_set() -> None:
    predictions = [predict("I10", "I10 J18.9", id="a"), predict("I10", "I10 E11.9", id="b", rejected=["E11.62"])]
    values, closed = measure_all(predictions), measure_all(predictions, closed=True)
    assert (values["micro_precision"], values["exact_match"]) == (2 / 5, 0)
    assert (closed["micro_precision"], closed["exact_match"]) == (1, 1)
    ranked = [rank(predictions[0], [("J18.9", 0.9), ("I10", 0.8)])]
    values, closed = measure_all(ranked), measure_all(ranked, closed=True)
    assert (values["precision_at_1"], values["map"]) == (0, 1 / 2)
    assert (closed["precision_at_1"], closed["map"]) == (1, 1)


def test_empty_answers_score_zero_without_a_warning() -> None:
    values = measure_all([predict("I10", status="unparsed", id="a"), predict("I10", status="error", id="b")])
    assert {name for name, value in values.items() if value} == {"hamming_loss"}


@FEW
@given(many_predictions(ranked=True), st.randoms(use_true_random=False))
def test_order_and_repetition_change_nothing(predictions: list[Prediction], rng: random.Random) -> None:
    values = measure_all(predictions)
    shuffled = rng.sample(predictions, len(predictions))
    assert measure_all(shuffled) == pytest.approx(values, abs=1e-9)
    assert measure_all(predictions * 3) == pytest.approx(values, abs=1e-9)
    reversed_codes = [p._replace(codes=p.codes[::-1], predicted=p.predicted[::-1]) for p in predictions]
    assert measure_all(reversed_codes) == pytest.approx(values, abs=1e-9)


@FEW
@given(many_predictions(ranked=True))
def test_rates_are_rates_and_exact_is_rarer_than_category_than_chapter(predictions: list[Prediction]) -> None:
    values = measure_all(predictions)
    ranked = list(RANKED_METRICS) if any(prediction.ranking for prediction in predictions) else []
    assert list(values) == [*METRICS, *ranked]
    assert all(0 <= value <= 1 for name, value in values.items() if name != "hamming_loss")
    assert values["exact_match"] <= values["category_match"] <= values["chapter_match"]


@FEW
@given(many_predictions(least=2, ranked=True), st.data())
def test_weights_mean_repetition_of_patients(predictions: list[Prediction], data: st.DataObject) -> None:
    cases = build_cases(predictions)
    drawn = data.draw(st.lists(st.integers(0, 3), min_size=cases.n_units, max_size=cases.n_units).filter(any))
    repeated = [p for p, unit in zip(predictions, cases.units, strict=True) for _ in range(drawn[unit])]
    weighted = measure_weighted(count(cases), np.array([drawn, [1] * cases.n_units], dtype=float))
    expected, whole = measure_all(repeated), measure_all(predictions)
    for name, values in weighted.items():
        assert values[1] == pytest.approx(whole[name], abs=1e-9), name
        if name not in OF_THE_WHOLE:
            assert values[0] == pytest.approx(expected.get(name, values[0]), abs=1e-9), name
