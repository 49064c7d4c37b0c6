"""How often bootstrap intervals hold the truth: simulated notes in patients, scored again and again.

    python benchmarks/interval_coverage.py
    python benchmarks/interval_coverage.py --repeats 2000

A patient has 1 to 4 notes and a difficulty that they share; a note has 3 codes, drawn by a long-tailed frequency; common codes
are harder than rare ones or easier, each in its own way. The truth is what 200,000 patients show. Beside intervals over
patients stand those over notes, as if notes were independent. One thread; a minute a line with 1,000 repeats.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np

from eval.metrics import measure
from eval.scoring.bootstrap import bootstrap
from eval.scoring.cases import Cases, Ranks
from eval.scoring.tally import count

METRICS = ("exact_match", "micro_f1", "macro_f1", "macro_precision", "macro_recall", "jaccard", "map", "auc_micro", "auc_macro")
N_CODES_A_NOTE = 3


class World(NamedTuple):
    """Where notes come from.

    Attributes:
        n_patients: of a test set.
        n_codes: codes there are.
        tail: exponent of their frequencies; 0 is all alike, 1 is Zipf's law.
    """

    n_patients: int
    n_codes: int
    tail: float

    @property
    def frequencies(self) -> np.ndarray:
        """How often each code is drawn, shape (n_codes,); they sum to 1."""
        weights = 1 / np.arange(1, self.n_codes + 1) ** self.tail
        return weights / weights.sum()

    @property
    def rarest(self) -> float:
        """Expected positives of the rarest code."""
        return self.n_patients * 2.2 * N_CODES_A_NOTE * float(self.frequencies[-1])


WORLDS = (
    World(150, 20, 0.5),
    World(300, 20, 0.8),
    World(300, 100, 0.0),
    World(400, 100, 0.8),
    World(200, 200, 1.0),
)


def main() -> None:
    """Print coverage in percent for each world and metric."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=1000)
    parser.add_argument("--n-boot", type=int, default=400)
    settings = parser.parse_args()
    print(f"{'patients':>8} {'codes':>6} {'rarest':>7} {'drawn':>9}" + "".join(f"{name:>16}" for name in METRICS))
    for world in WORLDS:
        for unit in ("patients", "notes"):
            held = measure_coverage(world, settings.repeats, settings.n_boot, unit)
            figures = "".join(f"{100 * held[name]:>16.1f}" for name in METRICS)
            print(f"{world.n_patients:>8,} {world.n_codes:>6,} {world.rarest:>7.0f} {unit:>9}{figures}", flush=True)


def measure_coverage(
    world: World, repeats: int, n_boot: int, unit: str = "patients", truth_from: int = 200_000
) -> dict[str, float]:
    """Return how often the interval of each metric holds the truth, from 0 to 1; the truth is what so many patients show."""
    rng = np.random.default_rng(0)
    parts = [measure(count(draw_cases(world, truth_from // 10, rng))) for _ in range(10)]
    truth = {name: float(np.mean([part[name] for part in parts])) for name in METRICS}
    held = dict.fromkeys(METRICS, 0)
    for repeat in range(repeats):
        cases = draw_cases(world, world.n_patients, rng)
        if unit == "notes":
            cases = cases._replace(units=np.arange(cases.n))
        found = bootstrap(count(cases), n_boot, seed=repeat)
        for name, value in truth.items():
            low, high = found[name]
            held[name] += low <= value <= high
    return {name: times / repeats for name, times in held.items()}


def draw_cases(world: World, n_patients: int, rng: np.random.Generator) -> Cases:
    """Return scored notes of so many patients."""
    units = np.repeat(np.arange(n_patients), 1 + rng.binomial(3, 0.4, n_patients))
    n, codes = len(units), np.arange(world.n_codes)
    ease = rng.beta(6, 3, n_patients)[units]
    right = np.zeros((n, world.n_codes), dtype=bool)
    right[np.arange(n)[:, None], rng.choice(world.n_codes, (n, N_CODES_A_NOTE), p=world.frequencies)] = True
    chances = ease[:, None] * (0.6 + 0.6 * (codes * 7 % 10) / 10)
    written = right & (rng.random(right.shape) < chances)
    mistaken = rng.random(n) < 0.8 * (1.2 - ease)
    written[mistaken, rng.choice(world.n_codes, mistaken.sum(), p=world.frequencies)] = True
    rows, numbers = np.nonzero(right | written)
    return Cases(
        n=n,
        units=units,
        n_patients=n_patients,
        complete=np.ones(n, dtype=bool),
        refused=np.zeros(n, dtype=bool),
        rows=rows,
        codes=numbers,
        right=right[rows, numbers],
        written=written[rows, numbers],
        names=tuple(map(str, codes)),
        categories=codes // 5,
        chapters=codes // 20,
        ranks=_rank(right, written, rng),
    )


def _rank(right: np.ndarray, written: np.ndarray, rng: np.random.Generator, n_ranked: int = 8) -> Ranks:
    """Return rankings: what was written first, then some of what is right before what is not."""
    scores = rng.random(right.shape) + written + 0.5 * right
    places = np.argsort(-scores, axis=1)[:, :n_ranked]
    rows = np.arange(len(right))[:, None]
    shape = places.shape
    return Ranks(
        rows=np.broadcast_to(rows, shape).ravel(),
        codes=places.ravel(),
        places=np.broadcast_to(np.arange(1, n_ranked + 1), shape).ravel(),
        scores=scores[rows, places].ravel(),
        right=right[rows, places].ravel(),
    )


if __name__ == "__main__":
    main()
