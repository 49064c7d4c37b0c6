"""Ask again for the parts of conditions that an engine is unsure of as they are joined (`icd10cm.joined`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from icd10cm.joined import SURE, choose_parts, list_parts
from serving.engines import Generation

Ask = Callable[[Sequence[str]], Sequence[Generation]]


def answer_in_parts(
    texts: Sequence[str], generations: Sequence[Generation], ask: Ask, *, by_logprob: bool
) -> list[list[Generation]]:
    """Return for each text the answer to it, or those to its parts where these are surer together.

    Args:
        texts: conditions, some of which may be several.
        generations: the answers to them.
        ask: answers further texts, in order.
        by_logprob: whether scores are log-probabilities; else they are from 0 to 1.
    """

    def measure(generation: Generation) -> float:
        scores = [score for _, score in generation.code_scores]
        if not scores:
            # without scores nothing can be surer, and an answer without codes is sure of none
            return float(bool(generation.text.strip()) or generation.finish_reason == "error")
        return math.exp(sum(scores)) if by_logprob else math.prod(scores)

    wholes = [measure(generation) for generation in generations]
    parts = [list_parts(text) if whole < SURE else [] for text, whole in zip(texts, wholes, strict=True)]
    wanted = dict.fromkeys(text[slice(*part)] for text, found in zip(texts, parts, strict=True) for part in found)
    if not wanted:
        return [[generation] for generation in generations]
    answers = dict(zip(wanted, ask(list(wanted)), strict=True))
    chosen = []
    for text, found, whole, generation in zip(texts, parts, wholes, generations, strict=True):
        sure = {part: measure(answers[text[slice(*part)]]) for part in found}
        best = choose_parts(text, sure, whole)
        chosen.append([answers[text[slice(*part)]] for part in best] if len(best) > 1 else [generation])
    return chosen
