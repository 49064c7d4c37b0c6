"""What evaluation and serving ask of whatever generates: texts in, completions out."""

from __future__ import annotations

import bisect
import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol

from icd10cm.answers import read_answer
from icd10cm.codeset import CodeSet
from icd10cm.prompts import SEPARATOR

RELEASE_HEADER = "X-ICDTune-Release"
"""Header of every response of our server: the release whose codes it answers with, where that is known."""

SWITCH, ON, REPEATS, OFF = "constrain", "on", "repeats", "off"
"""What a request to a server of ours may say in `vllm_xargs`: codes only, none twice; codes that may come again; anything.

Our own clients ask for `repeats` and drop what is repeated: a model that would say a code twice, kept from it, writes another
one that it does not mean.
"""

_CODE_END = re.compile(r"[,;|\n\t]\s*")

WrittenCode = tuple[str, float]
"""What stands between two separators, as written, and the mean log-probability of its tokens and of those that end it."""


class Alternatives(NamedTuple):
    """What an engine gives besides its answer.

    Attributes:
        way: `none`; `beam` (the best answers of a beam search); `sampling` (answers drawn at temperature 1).
        n: number of beams or draws.
        seed: of the draws; those for one text hang on it and the text alone, never on the company or the order.
    """

    way: str = "none"
    n: int = 20
    seed: int = 0


NO_ALTERNATIVES = Alternatives()


class Sample(NamedTuple):
    """One of the other answers to a text.

    Attributes:
        text: what was written.
        finish_reason: `stop` or `length`.
        share: of all samples of the text, 0 to 1: 1/n for draws, for beams the probability over that of all beams.
        code_scores: as in `Generation`.
    """

    text: str
    finish_reason: str
    share: float
    code_scores: tuple[WrittenCode, ...] = ()


class Generation(NamedTuple):
    """One completion.

    Attributes:
        text: what was written, without special tokens.
        finish_reason: `stop`, `length` (the token limit cut it off) or `error`.
        score: mean log-probability of the tokens written (for the floor: cosine similarity); None when not known.
        error: what went wrong, empty unless `finish_reason` is `error`.
        code_scores: each code as written with its own score, of the same kind as `score`; empty when not known.
        samples: other answers, where the engine was asked for `Alternatives`.
        ranking: (code, score), surest first, of an engine that ranks codes without writing answers.
    """

    text: str
    finish_reason: str
    score: float | None = None
    error: str = ""
    code_scores: tuple[WrittenCode, ...] = ()
    samples: tuple[Sample, ...] = ()
    ranking: tuple[tuple[str, float], ...] = ()


class Engine(Protocol):
    """A generator of completions: a checkpoint in this process, a server, or the retrieval floor."""

    name: str

    def generate(self, texts: Sequence[str]) -> list[Generation]:
        """Return one completion per clinical text, in order; the engine puts each text into the model's prompt."""
        ...


def end_answer(text: str, *, stopped: bool, tokens: Sequence[str] = (), logprobs: Sequence[float] = ()) -> Generation:
    """Return the generation for `text`, the same way for every engine.

    An answer that ends in a separator was cut by its token limit even where the model was made to stop there.

    Args:
        text: what was written, without special tokens.
        stopped: whether it ended by itself and not at the token limit.
        tokens: text of each token, that of the end-of-sequence token included.
        logprobs: their log-probabilities; empty when not known.
    """
    cut = not stopped or text.rstrip().endswith(SEPARATOR.strip())
    score = round(sum(logprobs) / len(logprobs), 4) if logprobs else None
    return Generation(text, "length" if cut else "stop", score, code_scores=score_codes(text, tokens, logprobs))


def score_codes(text: str, tokens: Sequence[str], logprobs: Sequence[float]) -> tuple[WrittenCode, ...]:
    """Return what stands between separators, each with the mean log-probability of its tokens and of those that end it.

    A token that reaches over a separator into the next code counts for both. What follows `text` is the end of the answer.

    >>> score_codes("I10, E11.9", ["I", "10", ", ", "E11.9", "<end>"], [-0.1, -0.2, -0.3, -0.4, -0.6])
    (('I10', -0.2), ('E11.9', -0.5))
    """
    whole = "".join(tokens)
    if not whole or len(tokens) != len(logprobs):
        return ()
    known = len(text) if whole.startswith(text) else len(whole)
    stops = [end.end() for end in _CODE_END.finditer(whole, 0, known) if end.end() < known]
    starts = [0, *stops]
    sums, counts = [0.0] * len(starts), [0] * len(starts)
    ends = list(itertools.accumulate(map(len, tokens)))
    for begin, end, logprob in zip([0, *ends], ends, logprobs, strict=False):
        first = bisect.bisect_right(starts, begin) - 1
        last = max(first, bisect.bisect_left(starts, end) - 1)
        for place in range(first, last + 1):
            sums[place] += logprob
            counts[place] += 1
    written = (whole[start:stop].strip(" \n\t,;|") for start, stop in itertools.pairwise([*starts, known]))
    return tuple((code, round(sums[i] / counts[i], 4)) for i, code in enumerate(written) if code and counts[i])


def score_written(code_scores: Iterable[WrittenCode], codes: CodeSet) -> dict[str, float]:
    """Return the score of each billable code that was written; of one written twice the first."""
    scores: dict[str, float] = {}
    for written, score in code_scores:
        if math.isfinite(score):
            for code in read_answer(written, codes).codes:
                scores.setdefault(code, score)
    return scores


def derive_seed(seed: int, text: str) -> int:
    """Return the seed for the draws of one text: below 2**31, with room for one number per draw."""
    return int.from_bytes(hashlib.sha256(f"{seed}\n{text}".encode(errors="surrogatepass")).digest()[:4]) >> 2
