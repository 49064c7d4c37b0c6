"""How a text speaks of what a span names: is it there, absent, a relative's, past, or only possible? By trigger words.

After NegEx (Chapman, Bridewell, Hanbury, Cooper and Buchanan 2001, "A simple algorithm for identifying negated findings and
diseases in discharge summaries", J Biomed Inform 34:301-310) and ConText (Harkema, Dowling, Thornblade and Chapman 2009,
"ConText: an algorithm for determining negation, experiencer, and temporal status from clinical reports", J Biomed Inform
42:839-851): a trigger has a scope, which runs from it to the end of its sentence, to a word that ends it or to the next one.
The words are in `triggers.yaml`. Wrong now and then by its nature, so it flags and never drops.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, get_args

import yaml

from serving.coding.models import Assertion
from serving.long_notes.sections import split_sections

TRIGGER_FILE = Path(__file__).with_name("triggers.yaml")

_ORDER: tuple[Assertion, ...] = ("negated", "family_history", "uncertain", "history")
"""Where several hold, the first counts: `no family history of`."""
_NOTHING, _END = "nothing", "end"
_SENTENCE_END = re.compile(r"(?<=[.!?])(?<!vs\.)(?<!Dr\.)\s+(?=[^a-z\s])|;|\n\s*\n|\n(?=\s*(?:[-*•●▪\d#]|[A-Z]))|(?<=:)\s*\n")
_OR = re.compile(r"\b(?:or|nor)\b", re.IGNORECASE)
_TOKEN = re.compile(r"[^\W_]+|[^\w\s]")
_WORD = re.compile(r"[^\W_]+")
_LONGEST_SENTENCE = 600
_UNTELLING = frozenset((
    "a", "an", "and", "any", "are", "did", "does", "for", "had", "has", "have", "he", "her", "his", "in", "is", "of", "or",
    "patient", "pt", "she", "the", "to", "was", "were", "with",
))  # fmt: skip


_Tokens = tuple[str, ...]


class Scope(NamedTuple):
    """Where in a text something is said in one way, and which words say so."""

    start: int
    end: int
    assertion: Assertion
    trigger: str


class _Match(NamedTuple):
    start: int
    end: int
    readings: tuple[tuple[str, str], ...]
    """(`before`, `after`, `nothing` or `end`; kind)."""
    tokens: _Tokens
    words: str


class _Triggers(NamedTuple):
    by_first: Mapping[str, Sequence[tuple[_Tokens, tuple[tuple[str, str], ...]]]]
    """First token to the tokens and readings of the triggers that begin with it, the longest first."""
    whole_sentence: frozenset[_Tokens]
    sections: Mapping[str, str]


def find_scopes(text: str) -> list[Scope]:
    """Return every scope of a trigger and every section that says how its text is meant, in the order of the text."""
    triggers = _read_triggers()
    found = list(_find_sections(text, triggers))
    for start, end in _split_sentences(text):
        found += _find_in_sentence(text, start, end, triggers)
    return sorted(found)


def judge_span(scopes: Sequence[Scope], text: str, start: int, end: int, telling: Iterable[tuple[int, int]] = ()) -> Scope:
    """Return how the text speaks of `text[start:end]`; a scope with an empty trigger where it is simply affirmed.

    Args:
        scopes: of `find_scopes(text)`.
        text: the whole text.
        start: of the span.
        end: of the span.
        telling: the words that it is about, begin and end of each; all but the commonest where there are none.

    >>> text = "Denies chest pain, but has dyspnea."
    >>> judge_span(find_scopes(text), text, 7, 17)[2:]
    ('negated', 'Denies')
    """
    words = list(telling) or _list_words(text, start, end)
    touching = [scope for scope in scopes if scope.start < end and scope.end > start]
    for assertion in _ORDER:
        ours = [scope for scope in touching if scope.assertion == assertion]
        n_within = sum(any(scope.start <= begin and stop <= scope.end for scope in ours) for begin, stop in words)
        if words and 2 * n_within > len(words):
            begin, stop = words[0]
            return next((scope for scope in ours if scope.start <= begin and stop <= scope.end), ours[0])
    return Scope(start, end, "affirmed", "")


@functools.cache
def _read_triggers() -> _Triggers:
    # the C one reads it in a tenth of the time
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    content = yaml.load(TRIGGER_FILE.read_text(encoding="utf-8"), loader)
    readings: dict[_Tokens, list[tuple[str, str]]] = {}
    for kind in _ORDER:
        for side in ("before", "after"):
            for words in content[kind][side]:
                readings.setdefault(_spell(words), []).append((side, kind))
    for words in content["nothing"]:
        readings[_spell(words)] = [(_NOTHING, "")]
    for kind, ends in content["ends"].items():
        for words in ends:
            readings.setdefault(_spell(words), []).append((_END, kind))
    by_first: dict[str, list[tuple[_Tokens, tuple[tuple[str, str], ...]]]] = {}
    for tokens in sorted(readings, key=lambda tokens: (-len(tokens), tokens)):
        by_first.setdefault(tokens[0], []).append((tokens, tuple(readings[tokens])))
    return _Triggers(
        by_first,
        frozenset(_spell(words) for kind in _ORDER for words in content[kind].get("whole_sentence", ())),
        {name: kind for kind, names in content["sections"].items() for name in names},
    )


def _spell(words: str) -> _Tokens:
    return tuple(token.lower().replace("’", "'") for token in _TOKEN.findall(words))


def _match_triggers(text: str, start: int, end: int) -> Iterator[_Match]:
    """Yield the triggers in a piece of text from left to right, at each place the longest."""
    found = list(_TOKEN.finditer(text, start, end))
    spelled = [match[0].lower().replace("’", "'") for match in found]
    by_first = _read_triggers().by_first
    at = 0
    while at < len(found):
        for tokens, readings in by_first.get(spelled[at], ()):
            last = at + len(tokens) - 1
            if tuple(spelled[at : last + 1]) == tokens and not _is_inside(text, found[at].start(), found[last].end(), tokens):
                begin, stop = found[at].start(), found[last].end()
                yield _Match(begin, stop, readings, tokens, text[begin:stop])
                at = last
                break
        at += 1


def _is_inside(text: str, start: int, end: int, tokens: _Tokens) -> bool:
    """Whether a match is only part of something written as one word, such as the `no` of `and/no`."""
    left, right = text[start - 1 : start], text[end : end + 1]
    return (tokens[0].isalnum() and left in ("/", "_")) or (tokens[-1].isalnum() and right in ("/", "_"))


def _find_sections(text: str, triggers: _Triggers) -> Iterator[Scope]:
    kinds = {name.lower(): kind for name, kind in triggers.sections.items()}
    for section in split_sections(text, list(triggers.sections)):
        kind = kinds.get(section.name.lower())
        if kind in get_args(Assertion):
            heading = section.text.partition(":")[0].strip()
            yield Scope(section.start, section.start + len(section.text), kind, heading)  # type: ignore[arg-type]


def _split_sentences(text: str) -> Iterator[tuple[int, int]]:
    """Yield the sentences; one that has no end is cut, so that no text takes longer than its length."""
    start = 0
    for stop, after in [*(match.span() for match in _SENTENCE_END.finditer(text)), (len(text), len(text))]:
        while stop - start > _LONGEST_SENTENCE:
            cut = max(text.rfind(" ", start, start + _LONGEST_SENTENCE), start + _LONGEST_SENTENCE // 2)
            yield start, cut
            start = cut
        yield start, stop
        start = after


def _find_in_sentence(text: str, start: int, end: int, triggers: _Triggers) -> Iterator[Scope]:
    matches = list(_match_triggers(text, start, end))
    for number, match in enumerate(matches):
        for side, kind in match.readings:
            if side == "before":
                stop = _find_stop(text, matches, number, kind, end, start, triggers)
                scope = (match.end, stop)
            elif side == "after":
                scope = (_find_beginning(text, matches, number, start), match.start)
            else:
                continue
            if scope[0] < scope[1]:
                yield Scope(*scope, kind, match.words)  # type: ignore[arg-type]


def _find_stop(
    text: str, matches: Sequence[_Match], number: int, kind: str, end: int, sentence: int, triggers: _Triggers
) -> int:
    """Return where the scope of a trigger that stands before ends."""
    match = matches[number]
    stop = end
    for later in matches[number + 1 :]:
        adjacent = not text[match.end : later.start].strip()
        if any(_ends(reading, kind, adjacent) for reading in later.readings):
            stop = later.start
            break
    if kind == "family_history" or match.tokens in triggers.whole_sentence:
        return stop
    before = text[sentence : match.start].rstrip()
    opens = before.endswith(":") or not any(map(str.isalnum, before))
    if kind == "negated" and opens:
        return stop
    return _stop_at_comma(text, match.end, stop, kind)


def _ends(reading: tuple[str, str], kind: str, adjacent: bool) -> bool:
    """Whether a later trigger ends a scope; `mother had` and `no longer has` are one thing."""
    side, other = reading
    if side == _END:
        return other in ("all", kind) and not adjacent
    if side == "before":
        return not adjacent and (other != kind or kind == "negated") and kind != "family_history"
    return False


def _stop_at_comma(text: str, start: int, stop: int, kind: str) -> int:
    """Return where a scope ends that reaches over commas only within a list that ends with `or`, a history with any list."""
    if kind == "history":
        return stop
    commas = [place for place in range(start, stop) if text[place] == ","]
    if not commas:
        return stop
    last = [match.end() for match in _OR.finditer(text, start, stop)]
    if not last or last[-1] < commas[0]:
        return commas[0]
    return next((comma for comma in commas if comma > last[-1]), stop)


def _find_beginning(text: str, matches: Sequence[_Match], number: int, sentence: int) -> int:
    """Return where the scope of a trigger that stands after begins: at the comma or the word that ends another one."""
    match = matches[number]
    begin = max([sentence, *(earlier.end for earlier in matches[:number] if any(s != _NOTHING for s, _ in earlier.readings))])
    return max(begin, text.rfind(",", sentence, match.start) + 1)


def _list_words(text: str, start: int, end: int) -> list[tuple[int, int]]:
    words = [match.span() for match in _WORD.finditer(text, start, end)]
    telling = [span for span in words if text[slice(*span)].lower() not in _UNTELLING]
    outside = _drop_triggers(text, start, end, telling)
    return outside or telling or words


def _drop_triggers(text: str, start: int, end: int, words: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    found = list(_match_triggers(text, start, end))
    return [word for word in words if not any(one.start <= word[0] and word[1] <= one.end for one in found)]
