"""Seeded bootstrap: examples are drawn with replacement, and the middle 95 % of the values is the interval.

Resamples depend only on the seed and the number of examples, so that two predictions files over the same examples (sorted
alike, as `eval.score` does) are resampled alike. Where every example is right every resample is, and the interval has no
width. Macro averages over codes that occur once or twice are biased by resampling (a rare code drops out): trust their
intervals only from about 30 examples a code on; in a simulation the intervals of the other rates held the truth 93-96 % of
the time, those of macro F1 85 % at 5 examples a code and 97 % at 33.
"""

from __future__ import annotations

import numpy as np

from eval.metrics import METRICS, Tally, weigh

LEVEL = 0.95
_CELLS = 20_000_000
"""Array cells worked on at a time; bounds the memory, not the result."""


def draw_weights(n: int, n_boot: int, rng: np.random.Generator) -> np.ndarray:
    """Return how often each of `n` examples occurs in each resample, shape (n_boot, n)."""
    drawn = rng.integers(n, size=(n_boot, n)) + n * np.arange(n_boot)[:, None]
    return np.bincount(drawn.ravel(), minlength=n_boot * n).reshape(n_boot, n).astype(np.float64)


def bootstrap(tally: Tally, n_boot: int = 1000, seed: int = 0) -> dict[str, tuple[float, float]]:
    """Return the percentile interval of every metric, lower and upper end of the middle `LEVEL`."""
    n = len(tally.columns["exact"])
    widest = max(n, tally.n_codes, *(pairs.shape[1] for pairs in tally.pairs.values()))
    step = max(1, _CELLS // widest)
    rng = np.random.default_rng(seed)
    values: dict[str, list[np.ndarray]] = {name: [] for name in METRICS}
    for start in range(0, n_boot, step):
        sums = weigh(tally, draw_weights(n, min(step, n_boot - start), rng))
        for name, metric in METRICS.items():
            values[name].append(metric(sums))
    tail = (1 - LEVEL) / 2
    ends = {name: np.quantile(np.concatenate(parts), (tail, 1 - tail)) for name, parts in values.items()}
    return {name: (float(low), float(high)) for name, (low, high) in ends.items()}
