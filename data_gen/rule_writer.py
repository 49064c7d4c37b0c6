"""RuleWriter: the texts that the rules propose for a code, without a model and without a network."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from data_gen.lexicon import find_short_forms
from data_gen.terms import Term
from data_gen.variations import VARIATIONS, paraphrased


class RuleWriter:
    """Proposes texts without end, as `data_gen.writing.Propose` asks for.

    Args:
        terms: code to what else it is called, for `paraphrased`.
    """

    def __init__(self, terms: Mapping[str, Sequence[Term]]) -> None:
        self._terms = terms

    def __call__(self, variation: str, code: str, title: str, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield (text, source), the text empty where an attempt failed."""
        if variation == "paraphrased":
            yield from self._paraphrase(code, title, rng)
        # a title without any entry in the lexicon is clipped
        clipped = variation == "abbreviated" and not find_short_forms(title)
        source = "rules:clipped" if clipped else f"rules:{variation}"
        vary = VARIATIONS[variation]
        while True:
            yield vary(title, rng) or "", source

    def _paraphrase(self, code: str, title: str, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield each term once, half of them in a clinical frame, then frames around the title and the terms."""
        terms = list(self._terms.get(code, ()))
        rng.shuffle(terms)
        for term in terms:
            bare = rng.random() < 0.5
            yield paraphrased.say_plainly(term.text, rng) if bare else paraphrased.vary(term.text, rng, code), term.source
        own = Term(title, "rules:paraphrased")
        while True:
            term = rng.choice(terms) if terms and rng.random() < 0.5 else own
            yield paraphrased.vary(term.text, rng, code), term.source
