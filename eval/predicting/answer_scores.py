"""How sure an engine was of each code: of those it wrote, and of those it might have written."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable

from icd10cm.answers import drop_cut_code, read_answer
from icd10cm.codeset import CodeSet
from serving.engines.base import Generation, Sample, score_written

RANKINGS = ("none", "beam", "sampling")
SCORES = ("logprob", "sampling")

Ranking = tuple[tuple[str, float], ...]
"""(code, score), surest first, each code once."""


def rank_codes(generation: Generation, predicted: Iterable[str], codes: CodeSet, n_ranked: int) -> Ranking:
    """Return the codes that an engine held possible, the `predicted` ones always among them.

    Samples: a code's score is the share of those that hold it, 0 for a predicted code that none holds; of equal codes that with
    the higher mean log-probability comes first, then the first by name.

    Args:
        generation: with `samples` or with a `ranking`.
        predicted: codes of the answer.
        codes: the release that samples are read against.
        n_ranked: how many codes to keep; more only where more were predicted.
    """
    shares, logprobs = add_shares(generation.samples, codes) if generation.samples else (dict(generation.ranking), {})
    kept = list(dict.fromkeys(predicted))
    known = shares | {code: 0.0 for code in kept if code not in shares}
    order = sorted(known, key=lambda code: (-known[code], -logprobs.get(code, -math.inf), code))
    others = [code for code in order if code not in kept][: max(0, n_ranked - len(kept))]
    listed = {*kept, *others}
    return tuple((code, known[code]) for code in order if code in listed)


def add_shares(samples: Iterable[Sample], codes: CodeSet) -> tuple[dict[str, float], dict[str, float]]:
    """Return for each code the share of the samples that hold it, and its mean log-probability in them."""
    shares: dict[str, list[float]] = defaultdict(list)
    logprobs: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        text = drop_cut_code(sample.text) if sample.finish_reason == "length" else sample.text
        written = score_written(sample.code_scores, codes)
        for code in read_answer(text, codes).codes:
            shares[code].append(sample.share)
            if code in written:
                logprobs[code].append(written[code])
    means = {code: math.fsum(found) / len(found) for code, found in logprobs.items()}
    return {code: round(math.fsum(found), 6) for code, found in shares.items()}, means


def merge_rankings(rankings: Iterable[Ranking], predicted: Iterable[str], n_ranked: int) -> Ranking:
    """Return one ranking of several parts of a text: of each code its best score."""
    best: dict[str, float] = {}
    for ranking in rankings:
        for code, score in ranking:
            best[code] = max(score, best.get(code, -math.inf))
    kept = set(predicted)
    order = sorted(best, key=lambda code: (-best[code], code))
    others = [code for code in order if code not in kept][: max(0, n_ranked - len(kept))]
    return tuple((code, best[code]) for code in order if code in kept or code in others)
