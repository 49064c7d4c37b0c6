"""Time and memory of scoring notes with many codes: every metric, interval and breakdown that `eval.score` makes by default.

    python benchmarks/scoring_speed.py
    python benchmarks/scoring_speed.py --notes 20000 --codes 10 --ranked 0

Notes are drawn, seeded: patients with one note or several, codes by a long-tailed prior over chapters and codes as clinics
have them, answers that find about 60 % of the codes, rankings, lengths and two attributes. One thread.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import sys
import time
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parent.parent))

from eval.predictions import Prediction, ScoredCode
from eval.score import Resampling, build_scores
from icd10cm import CodeSet


def main() -> None:
    """Print seconds and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notes", type=int, default=20_000)
    parser.add_argument("--codes", type=int, default=10, help="right codes of a note (default: 10)")
    parser.add_argument("--ranked", type=int, default=20, help="codes of a ranking; 0 for none (default: 20)")
    parser.add_argument("--n-boot", type=int, default=1000)
    parser.add_argument("--profile", action="store_true", help="show where the time goes")
    settings = parser.parse_args()
    codes = CodeSet.load()
    predictions = draw_predictions(codes, settings.notes, settings.codes, settings.ranked)
    trained = Counter(code for prediction in predictions[::3] for code in prediction.codes)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, worked = time.perf_counter(), time.process_time()
    if settings.profile:
        import cProfile
        import pstats

        with cProfile.Profile() as profile:
            scores = build_scores(predictions, {}, codes, Resampling(settings.n_boot), trained=trained)
        pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
    else:
        scores = build_scores(predictions, {}, codes, Resampling(settings.n_boot), trained=trained)
    seconds, worked = time.perf_counter() - started, time.process_time() - worked
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    overall = scores["overall"]
    groups, kinds = sum(map(len, scores["breakdowns"].values())), len(scores["breakdowns"])
    print(f"{settings.notes:,} notes of {settings.codes} codes, {len(trained):,} codes seen in training")
    print(f"{overall['n_patients']:,} patients, {settings.n_boot:,} resamples, {groups} groups in {kinds} breakdowns")
    print(f"micro F1 {overall['micro_f1']}")
    print(f"{seconds:.1f} s, {worked:.1f} s of them at work")
    print(f"peak memory {peak / 1024:,.0f} MB, {before / 1024:,.0f} MB of it the predictions")


def draw_predictions(codes: CodeSet, n_notes: int, n_codes: int, n_ranked: int) -> list[Prediction]:
    """Return seeded predictions for `n_notes` notes."""
    seeded = random.Random(0)
    pool = seeded.sample(codes.codes, 8_000)
    weights = [1 / (place + 20) for place in range(len(pool))]
    drawn = seeded.choices(pool, weights, k=n_notes * (2 * n_codes + n_ranked))
    predictions, patient, left = [], 0, 0
    for number in range(n_notes):
        if not left:
            patient, left = patient + 1, seeded.choice((1, 1, 1, 2, 3, 6))
        left -= 1
        own = drawn[number * (2 * n_codes + n_ranked) : (number + 1) * (2 * n_codes + n_ranked)]
        right = tuple(dict.fromkeys(own[:n_codes]))
        written = dict.fromkeys([code for code in right if seeded.random() < 0.6] + own[n_codes : n_codes + n_codes // 3])
        scored = {code: round(seeded.random() ** (0.3 if code in right else 2), 6) for code in written}
        ranked = {code: scored.get(code, round(seeded.random() ** 3, 6)) for code in [*written, *own[2 * n_codes :]]}
        ranking = sorted(ranked.items(), key=lambda item: -item[1])[: max(n_ranked, len(written))] if n_ranked else []
        predictions.append(
            Prediction(
                id=f"n{number:06}",
                scenario="note",
                codes=right,
                predicted=tuple(ScoredCode(code, score) for code, score in scored.items()),
                output="",
                status="ok" if seeded.random() < 0.98 else "truncated",
                rejected=("E11.62",) if seeded.random() < 0.01 else (),
                ranking=tuple(ScoredCode(code, score) for code, score in ranking),
                patient=f"p{patient:06}",
                attributes=(("age_group", seeded.choice(("18-44", "45-64", "65-79", "80+"))), ("sex", seeded.choice("FM"))),
                n_characters=int(seeded.lognormvariate(9.1, 0.5)),
            )
        )
    return predictions


if __name__ == "__main__":
    main()
