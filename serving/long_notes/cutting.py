"""From a long text to texts that fit: the first tokens, the telling sections, windows that overlap, or single conditions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from icd10cm.conditions import locate_conditions, strip_span
from serving.long_notes.sections import SECTIONS, split_sections
from serving.long_notes.tokens import FindTokens, Spans, build_finder, estimate_tokens

WAYS = ("whole", "truncate", "sections", "chunks", "conditions")

_SENTENCE_END = re.compile(r"[.!?;:]?\s*\n|[.!?]\s")
_LATE_PART = 4
"""A window may end early, at the end of a sentence in its last quarter."""


class Part(NamedTuple):
    """A part of a text that is answered for itself.

    Attributes:
        text: what the model is given.
        spans: where it stands in the whole text, begin and end in characters; several where sections were put together.
    """

    text: str
    spans: tuple[tuple[int, int], ...]

    def take(self, start: int, end: int) -> Part:
        """Return what stands from `start` to `end` of a part that is in one place."""
        ((place, _),) = self.spans
        return Part(self.text[start:end], ((place + start, place + end),))


class Cutter:
    """Cuts texts that have more than so many tokens; shorter ones stay as they are, but for the way `conditions`.

    Attributes:
        n_cut: texts that were cut.
        n_parts: parts that texts became, those left whole included.
        most_parts: of one text.
        n_without_sections: texts without any of the sections wanted, whose beginning was kept instead.
    """

    def __init__(
        self,
        way: str,
        find_tokens: FindTokens,
        max_tokens: int,
        overlap: int = 64,
        sections: Sequence[str] = SECTIONS,
        tokens_by: str = "estimate",
    ):
        """Choose how to cut.

        Args:
            way: one of `WAYS`.
            find_tokens: finds the tokens of a text.
            max_tokens: the most that a part may have; for `conditions` 0 is any.
            overlap: tokens that a chunk shares with the one before.
            sections: names of the sections to keep, the most telling first.
            tokens_by: name of what finds tokens, for the run header.
        """
        self.way, self._find, self._max, self._overlap, self._sections = way, find_tokens, max_tokens, overlap, tuple(sections)
        self._tokens_by = tokens_by
        self.n_cut = self.n_parts = self.most_parts = self.n_without_sections = 0

    def cut(self, text: str) -> list[str]:
        """Return the parts of a text to be answered; at least one."""
        return [part.text for part in self.locate(text)]

    def locate(self, text: str) -> list[Part]:
        """Return the parts of a text to be answered, at least one, and where in the text they stand."""
        parts = [Part(text, ((0, len(text)),))]
        if self.way == "conditions":
            parts = self._split_conditions(text)
            self.n_cut += len(parts) > 1
        elif self.way != "whole":
            spans = self._find(text)
            if len(spans) > self._max:
                parts = {"truncate": self._truncate, "sections": self._keep_sections, "chunks": self._split}[self.way](
                    text, spans
                )
                self.n_cut += 1
        self.n_parts += len(parts)
        self.most_parts = max(self.most_parts, len(parts))
        return parts

    def describe(self) -> dict[str, Any]:
        """Return the way and the counts, for the run header."""
        if self.way == "whole":
            return {"way": "whole"}
        known = {"way": self.way, "max_text_tokens": self._max, "tokens": self._tokens_by, "n_cut": self.n_cut}
        if self.way == "sections":
            known |= {"sections": list(self._sections), "n_without_sections": self.n_without_sections}
        if self.way == "conditions":
            known |= {"n_conditions": self.n_parts, "most_conditions": self.most_parts}
        if self.way == "chunks":
            known |= {"overlap_tokens": self._overlap, "n_chunks": self.n_parts, "most_chunks": self.most_parts}
        return known

    def _truncate(self, text: str, spans: Spans) -> list[Part]:
        end = spans[self._max - 1][1]
        return [Part(text[:end], ((0, end),))]

    def _keep_sections(self, text: str, spans: Spans) -> list[Part]:
        """Return the sections in the order of the note, the most telling first to be let in; the last one is cut to fit."""
        found = split_sections(text, self._sections)
        kept: dict[int, tuple[int, int]] = {}
        room = self._max
        for name in self._sections:
            for place, section in enumerate(found):
                if section.name.lower() == name.lower() and room > 0:
                    tokens = self._find(section.text)
                    length = len(section.text) if len(tokens) <= room else tokens[room - 1][1]
                    kept[place] = strip_span(text, section.start, section.start + length)
                    room -= len(tokens)
        if not kept:
            self.n_without_sections += 1
            return self._truncate(text, spans)
        chosen = tuple(kept[place] for place in sorted(kept))
        return [Part("\n".join(text[start:end] for start, end in chosen), chosen)]

    def _split_conditions(self, text: str) -> list[Part]:
        """Return each condition that the text sets apart; one that is too long in windows."""
        parts = []
        for start, end in locate_conditions(text):
            condition = text[start:end]
            tokens = self._find(condition) if self._max else []
            windows = self._split(condition, tokens) if len(tokens) > self._max else [Part(condition, ((0, end - start),))]
            parts += [Part(one.text, tuple((start + a, start + b) for a, b in one.spans)) for one in windows]
        return parts

    def _split(self, text: str, spans: Spans) -> list[Part]:
        """Return windows of tokens that end with a sentence or a line where there is such an end."""
        ends = {end.end() for end in _SENTENCE_END.finditer(text)}
        parts: list[Part] = []
        start = 0
        while True:
            stop = min(start + self._max, len(spans))
            if stop < len(spans):
                earliest = start + self._max - self._max // _LATE_PART
                stop = next((k for k in range(stop, earliest, -1) if _ends_between(ends, spans[k - 1][1], spans[k][0])), stop)
            begin, end = strip_span(text, spans[start][0], spans[stop - 1][1])
            if begin < end:
                parts.append(Part(text[begin:end], ((begin, end),)))
            if stop >= len(spans):
                return parts
            start = max(stop - self._overlap, start + 1)


def _ends_between(ends: set[int], end_of_token: int, start_of_next: int) -> bool:
    """Whether a sentence ends between two tokens; some tokenizers count the blank in front to a token."""
    return any(place in ends for place in range(end_of_token, start_of_next + 2))


def build_cutter(way: str, max_tokens: int, overlap: int, sections: Sequence[str], tokenizer: Path | None) -> Cutter:
    """Return a cutter that finds tokens with the tokenizer in a folder, without one by an estimate."""
    if way == "whole" or tokenizer is None:
        return Cutter(way, estimate_tokens, max_tokens, overlap, sections)
    return Cutter(way, build_finder(tokenizer), max_tokens, overlap, sections, str(tokenizer))
