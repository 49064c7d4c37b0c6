"""RuleWriter: the texts that the rules propose for a code, without a model and without a network."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence

from data_gen.checks import BARE_NAME, PLAIN_NAME
from data_gen.terms import Term
from data_gen.variations import VARIATIONS, mixed, paraphrased
from data_gen.words import Words, read_own_words

_SHORT_NAMES = 8
"""Attempts at a short form of each bare name; the same one twice is kept once."""


class RuleWriter:
    """Proposes texts without end, as `data_gen.writing.Propose` asks for.

    Args:
        terms: code to what else it is called, for `paraphrased`.
        words: short forms and misspellings; the project's own when omitted.
    """

    def __init__(self, terms: Mapping[str, Sequence[Term]], words: Words | None = None) -> None:
        self._terms = terms
        self._words = words or read_own_words()

    def __call__(self, variation: str, code: str, title: str, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield (text, source), the text empty where an attempt failed."""
        if variation == "paraphrased":
            yield from self._paraphrase(code, title, rng)
        if variation == "mixed":
            yield from self._mix(title, rng)
        # a title without any entry in the lexicon is clipped
        clipped = variation == "abbreviated" and not self._words.lexicon.find_short_forms(title)
        source = "rules:clipped" if clipped else f"rules:{variation}"
        vary = VARIATIONS[variation]
        while True:
            yield vary(title, rng, self._words) or "", source

    def _mix(self, title: str, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield misspelt texts of either base; a title without any entry in the lexicon is not clipped and misspelt at once."""
        bases = [base for base in mixed.BASES if base != "abbreviated" or self._words.lexicon.find_short_forms(title)]
        while True:
            base = rng.choice(bases)
            yield mixed.mix(base, title, rng, self._words) or "", f"rules:{base}+typo"

    def _paraphrase(self, code: str, title: str, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield each term once, half of them in a clinical frame, then frames around the title and the terms."""
        terms = list(self._terms.get(code, ()))
        rng.shuffle(terms)
        for term in terms:
            if term.source == BARE_NAME:
                yield from self._name_plainly(term.text, rng)
            bare = rng.random() < 0.5 and term.source != BARE_NAME
            yield paraphrased.say_plainly(term.text, rng) if bare else paraphrased.vary(term.text, rng, code=code), term.source
        own = Term(title, "rules:paraphrased")
        while True:
            term = rng.choice(terms) if terms and rng.random() < 0.5 else own
            yield paraphrased.vary(term.text, rng, code=code), term.source

    def _name_plainly(self, name: str, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield a bare name as it is and in its short forms (`CHF`, `HTN`), as most problem lists have it."""
        yield paraphrased.say_plainly(name, rng), PLAIN_NAME
        if self._words.lexicon.find_short_forms(name):
            for _ in range(_SHORT_NAMES):
                yield VARIATIONS["abbreviated"](name, rng, self._words) or "", PLAIN_NAME
