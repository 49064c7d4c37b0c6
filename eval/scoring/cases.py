"""Predictions as arrays: which codes are right and which were written, example by example. Every figure is counted from these.

>>> cases = build_cases(predictions)
>>> cases.n, cases.unit
(400, 'patients')

Sets of codes, order ignored. A code that was written but is not billable is a wrong code like any other and never dropped.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from eval.predictions import Prediction
from icd10cm.codeset import add_dot, find_chapter


class Ranks(NamedTuple):
    """Every ranked code, one entry each, ordered by example and place; arrays of shape (r,).

    Attributes:
        rows: number of the example.
        codes: number of the code.
        places: 1 for the surest.
        scores: NaN where a code has none.
        right: whether it is a right code of its example.
    """

    rows: np.ndarray
    codes: np.ndarray
    places: np.ndarray
    scores: np.ndarray
    right: np.ndarray


class Cases(NamedTuple):
    """Examples and what was answered to them.

    Attributes:
        n: number of examples.
        units: whom a resample draws, the patient or, where none is known, the example itself; numbers from 0, shape (n,).
        n_patients: number of patients, an example of an unknown one counted as one; 0 where no patient is known.
        complete: whether the answer came to its end, shape (n,); only such an answer can match.
        refused: whether it has a code that is not billable, shape (n,).
        rows: number of the example of each pair of an example and a code that is right or written, ordered; shape (m,).
        codes: number of its code, shape (m,).
        right: whether the code is a right one of the example, shape (m,).
        written: whether it was written, shape (m,).
        names: the codes by number, dotted, sorted.
        categories: number of the category of each code, shape (len(names),).
        chapters: its chapter, 1 to 22, likewise.
        ranks: the rankings; None where the engine was not asked to rank.
    """

    n: int
    units: np.ndarray
    n_patients: int
    complete: np.ndarray
    refused: np.ndarray
    rows: np.ndarray
    codes: np.ndarray
    right: np.ndarray
    written: np.ndarray
    names: tuple[str, ...]
    categories: np.ndarray
    chapters: np.ndarray
    ranks: Ranks | None

    @property
    def n_units(self) -> int:
        """Number of what a resample draws from."""
        return int(self.units.max()) + 1 if self.n else 0

    @property
    def unit(self) -> str:
        """What a resample draws: `patients` or `examples`."""
        return "patients" if self.n_patients else "examples"


def collect_written(prediction: Prediction) -> set[str]:
    """Return the distinct codes of an answer, dotted: the billable ones and those that were rejected."""
    return {scored.code for scored in prediction.predicted} | {add_dot(text) for text in prediction.rejected}


def build_cases(predictions: Sequence[Prediction]) -> Cases:
    """Return predictions, one or more, as arrays."""
    right_sets = [set(prediction.codes) for prediction in predictions]
    written_sets = [collect_written(prediction) for prediction in predictions]
    ranked = {scored.code for prediction in predictions for scored in prediction.ranking}
    names = tuple(sorted(ranked.union(*right_sets, *written_sets)))
    numbers = {name: number for number, name in enumerate(names)}
    pairs = [
        (row, numbers[code], code in right, code in written)
        for row, (right, written) in enumerate(zip(right_sets, written_sets, strict=True))
        for code in sorted(right | written)
    ]
    rows, codes, is_right, is_written = np.array(pairs, dtype=np.int64).reshape(-1, 4).T
    units = number_units([prediction.patient for prediction in predictions])
    return Cases(
        n=len(predictions),
        units=units,
        n_patients=int(units.max()) + 1 if any(prediction.patient for prediction in predictions) else 0,
        complete=np.array([prediction.status == "ok" for prediction in predictions], dtype=bool),
        refused=np.array([bool(prediction.rejected) for prediction in predictions], dtype=bool),
        rows=rows,
        codes=codes,
        right=is_right.astype(bool),
        written=is_written.astype(bool),
        names=names,
        categories=np.unique([name[:3] for name in names], return_inverse=True)[1],
        chapters=np.array([find_chapter(name) for name in names], dtype=np.int64),
        ranks=_build_ranks(predictions, right_sets, numbers) if ranked else None,
    )


def restrict(cases: Cases, rows: np.ndarray | None = None, codes: np.ndarray | None = None) -> Cases:
    """Return the cases of some examples, of some codes, or both; of codes, both the right and the written ones.

    Args:
        cases: what to choose from.
        rows: which examples to keep, boolean, shape (n,); all when None.
        codes: which codes to keep, boolean, shape (len(cases.names),); all when None. Examples that have none of them stay.
    """
    rows = np.ones(cases.n, dtype=bool) if rows is None else rows
    codes = np.ones(len(cases.names), dtype=bool) if codes is None else codes
    renumbered = np.cumsum(rows) - 1
    kept = rows[cases.rows] & codes[cases.codes]
    ranks = cases.ranks
    if ranks is not None:
        held = rows[ranks.rows] & codes[ranks.codes]
        chosen = Ranks(*(array[held] for array in ranks))
        ranks = chosen._replace(rows=renumbered[chosen.rows], places=_count_places(chosen.rows))
    units = cases.units[rows]
    return cases._replace(
        n=int(rows.sum()),
        units=np.unique(units, return_inverse=True)[1],
        n_patients=len(np.unique(units)) if cases.n_patients else 0,
        complete=cases.complete[rows],
        refused=cases.refused[rows],
        rows=renumbered[cases.rows[kept]],
        codes=cases.codes[kept],
        right=cases.right[kept],
        written=cases.written[kept],
        ranks=ranks,
    )


def find_right_codes(cases: Cases) -> np.ndarray:
    """Return which codes are right somewhere, boolean, shape (len(names),): the label set of the closed-set figures."""
    return np.bincount(cases.codes[cases.right], minlength=len(cases.names)) > 0


def find_rows(cases: Cases, codes: np.ndarray) -> np.ndarray:
    """Return which examples have one of some codes, right or written, boolean, shape (n,)."""
    return np.bincount(cases.rows[codes[cases.codes]], minlength=cases.n) > 0


def number_units(patients: Sequence[str]) -> np.ndarray:
    """Return a number for whom each example is about, shape (n,): alike for the same patient, its own where none is known."""
    numbers: dict[str, int] = {}
    names = (patient or f"\0{row}" for row, patient in enumerate(patients))
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)


def _build_ranks(predictions: Sequence[Prediction], right_sets: Sequence[set[str]], numbers: dict[str, int]) -> Ranks:
    rows = [row for row, prediction in enumerate(predictions) for _ in prediction.ranking]
    scored = [scored for prediction in predictions for scored in prediction.ranking]
    owners = np.array(rows, dtype=np.int64)
    return Ranks(
        rows=owners,
        codes=np.array([numbers[code] for code, _ in scored], dtype=np.int64),
        places=_count_places(owners),
        scores=np.array([np.nan if score is None else score for _, score in scored], dtype=np.float64),
        right=np.array([code in right_sets[row] for row, (code, _) in zip(rows, scored, strict=True)], dtype=bool),
    )


def _count_places(rows: np.ndarray) -> np.ndarray:
    """Return 1, 2, 3 … within each run of equal numbers, shape as `rows`."""
    starts = np.flatnonzero(np.diff(rows, prepend=-1))
    return np.arange(len(rows)) - np.repeat(starts, np.diff(starts, append=len(rows))) + 1
