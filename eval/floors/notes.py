"""How the floors read notes: sentence by sentence, and a sentence that is no title phrase by phrase.

A note says most of what it says in other words than titles, so only what is near enough counts. Chosen on CodiEsp train
(314 English notes, 10.6 codes each): whole sentences reach a micro-F1 of 10.0 % at best, phrases 16.3 %.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from icd10cm.prompts import SEPARATOR
from serving.engines.base import Generation

Hits = Sequence[tuple[str, float]]
"""(code, score), the nearest first."""

_SENTENCE_END = re.compile(r"[;\n\r]+|(?<=[A-Za-z0-9)\]%][.!?])\s+(?=[A-Z0-9])")
_PHRASE_END = re.compile(
    r"[,:()\[\]]|\.(?!\d)|\b(?:and|but|with|without|which|who|that|was|were|is|are|had|has|due to|secondary to|because of|"
    r"showed|shows|revealed|presented|presenting|diagnosed|diagnosis of|history of|consistent with|compatible with|"
    r"suggestive of|status post|s/p)\b",
    re.IGNORECASE,
)
_FEWEST_LETTERS = 3


def split_sentences(note: str) -> list[str]:
    """Return the sentences and lines of a note that hold words.

    >>> split_sentences("Admitted for gout. No fever.\\n1.\\n- asthma")
    ['Admitted for gout.', 'No fever.', '- asthma']
    """
    return [sentence.strip() for sentence in _SENTENCE_END.split(note) if _has_words(sentence)]


def split_phrases(sentence: str) -> list[str]:
    """Return what stands between commas, brackets and the words that join findings to a sentence.

    >>> split_phrases("A man with a history of duodenal ulcer, who was diagnosed with gout.")
    ['A man', 'a', 'duodenal ulcer', 'gout']
    """
    return [phrase.strip() for phrase in _PHRASE_END.split(sentence) if phrase.strip()]


def list_pieces(note: str) -> list[str]:
    """Return every text that `answer_note` looks up, each once."""
    return list(dict.fromkeys(piece for sentence, phrases in _read(note) for piece in (sentence, *phrases)))


def answer_note(note: str, find: Callable[[str], Hits], threshold: float, n_ranked: int) -> Generation:
    """Return the codes of what in a note is near to a title, in the order of the note, each once with its best score.

    A sentence that is near enough itself is answered as a whole, otherwise each of its phrases is.

    Args:
        note: the text.
        find: gives the hits for a piece, at least one where there is any.
        threshold: the least score of a hit that counts.
        n_ranked: how many codes to rank; 0 for no ranking. Below the threshold stands what was nearly near enough.
    """
    found: list[tuple[str, float]] = []
    ranked: dict[str, float] = {}
    for sentence, phrases in _read(note):
        whole = find(sentence)[:1]
        pieces = [sentence] if (whole and whole[0][1] >= threshold) or not phrases else phrases
        for piece in pieces:
            hits = find(piece)
            found += [hit for hit in hits[:1] if hit[1] >= threshold]
            for code, score in hits[: max(1, n_ranked)]:
                ranked[code] = max(score, ranked.get(code, 0.0))
    return write_answer(found, ranked if n_ranked else {})


def answer_condition(hits: Hits, n_ranked: int = 0) -> Generation:
    """Return the answer to a text of one condition: its first hit, and a ranking of all where one is wanted."""
    return write_answer(hits[:1], dict(hits) if n_ranked else {})


def write_answer(found: Hits, ranked: dict[str, float]) -> Generation:
    """Return the codes found as a completion, each once with its best score; the whole has the mean of all scores."""
    scores: dict[str, float] = {}
    for code, score in found:
        scores[code] = max(score, scores.get(code, 0.0))
    mean = sum(score for _, score in found) / len(found) if found else 0.0
    ranking = sorted(ranked.items(), key=lambda hit: (-hit[1], hit[0]))
    return Generation(SEPARATOR.join(scores), "stop", mean, code_scores=tuple(scores.items()), ranking=tuple(ranking))


def _read(note: str) -> Iterator[tuple[str, list[str]]]:
    """Yield each sentence with its phrases, none where it is one phrase itself."""
    for sentence in split_sentences(note):
        phrases = [phrase for phrase in split_phrases(sentence) if _has_words(phrase)]
        yield sentence, [] if phrases == [sentence] else phrases


def _has_words(text: str) -> bool:
    return sum(map(str.isalpha, text)) >= _FEWEST_LETTERS
