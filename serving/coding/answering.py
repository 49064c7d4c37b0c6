"""From what a model wrote to its codes: each with its score and its alternatives, valid in the release; parts put together."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from icd10cm.answers import drop_cut_code, read_answer
from icd10cm.codeset import CodeSet
from serving.coding.alternatives import Token, find_alternatives
from serving.engines.base import Generation, score_written
from serving.long_notes import Part


class WrittenCode(NamedTuple):
    """A code that a model wrote.

    Attributes:
        code: billable, dotted.
        score: mean log-probability of its tokens and of those that end it; None where it is not known.
        alternatives: other codes with the odds against them, most probable first (`serving.coding.alternatives`).
        spans: the parts of the text that it was written for.
    """

    code: str
    score: float | None
    alternatives: tuple[tuple[str, float], ...] = ()
    spans: tuple[tuple[int, int], ...] = ()


class Answer(NamedTuple):
    """What a model says of a text, or of a part of it.

    Attributes:
        codes: distinct, in the order written.
        n_rejected: what was meant as a code but is none of the release.
        truncated: whether the token limit cut it off.
    """

    codes: tuple[WrittenCode, ...]
    n_rejected: int = 0
    truncated: bool = False

    @property
    def confidence(self) -> float:
        """How sure the model is of all codes together, uncalibrated, 0 to 1; 1 where it does not tell, 0 without codes."""
        return math.exp(sum(one.score or 0.0 for one in self.codes)) if self.codes else 0.0


def read_generation(generation: Generation, part: Part, codes: CodeSet, tokens: Sequence[Token] = ()) -> Answer:
    """Return the answer to `part`.

    Args:
        generation: what was written.
        part: of the text.
        codes: the release.
        tokens: of the answer with others that were probable; without them there are no alternatives.
    """
    cut = generation.finish_reason == "length"
    read = read_answer(drop_cut_code(generation.text) if cut else generation.text, codes)
    scores = score_written(generation.code_scores, codes)
    others = find_alternatives(tokens, read.codes, codes) if tokens else {}
    written = [WrittenCode(code, scores.get(code, generation.score), others.get(code, ()), part.spans) for code in read.codes]
    return Answer(tuple(written), len(read.rejected), cut)


def merge_answers(answers: Sequence[Answer]) -> Answer:
    """Return the answer to a whole text: codes in the order of their first appearance, each as in the part surest of it."""
    best: dict[str, WrittenCode] = {}
    spans: dict[str, list[tuple[int, int]]] = {}
    for answer in answers:
        for written in answer.codes:
            known = best.get(written.code)
            spans.setdefault(written.code, []).extend(written.spans)
            if known is None or _is_surer(written, known):
                best[written.code] = written
    merged = {code: written._replace(spans=tuple(dict.fromkeys(spans[code]))) for code, written in best.items()}
    others = {code: tuple(pair for pair in written.alternatives if pair[0] not in merged) for code, written in merged.items()}
    return Answer(
        tuple(written._replace(alternatives=others[code]) for code, written in merged.items()),
        sum(answer.n_rejected for answer in answers),
        any(answer.truncated for answer in answers),
    )


def _is_surer(one: WrittenCode, other: WrittenCode) -> bool:
    return one.score is not None and (other.score is None or one.score > other.score)
