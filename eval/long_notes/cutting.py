"""From a long text to texts that fit: the first tokens, the telling sections, or windows that overlap."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from eval.long_notes.sections import SECTIONS, split_sections
from eval.long_notes.tokens import FindTokens, Spans, build_finder, estimate_tokens

WAYS = ("whole", "truncate", "sections", "chunks")

_SENTENCE_END = re.compile(r"[.!?;:]?\s*\n|[.!?]\s")
_LATE_PART = 4
"""A window may end early, at the end of a sentence in its last quarter."""


class Cutter:
    """Cuts texts that have more than so many tokens; shorter ones stay as they are.

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
            max_tokens: the most that a part may have.
            overlap: tokens that a chunk shares with the one before.
            sections: names of the sections to keep, the most telling first.
            tokens_by: name of what finds tokens, for the run header.
        """
        self.way, self._find, self._max, self._overlap, self._sections = way, find_tokens, max_tokens, overlap, tuple(sections)
        self._tokens_by = tokens_by
        self.n_cut = self.n_parts = self.most_parts = self.n_without_sections = 0

    def cut(self, text: str) -> list[str]:
        """Return the parts of a text to be answered; at least one."""
        parts = [text]
        if self.way != "whole":
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
        if self.way == "chunks":
            known |= {"overlap_tokens": self._overlap, "n_chunks": self.n_parts, "most_chunks": self.most_parts}
        return known

    def _truncate(self, text: str, spans: Spans) -> list[str]:
        return [text[: spans[self._max - 1][1]]]

    def _keep_sections(self, text: str, spans: Spans) -> list[str]:
        """Return the sections in the order of the note, the most telling first to be let in; the last one is cut to fit."""
        found = split_sections(text, self._sections)
        kept: dict[int, str] = {}
        room = self._max
        for name in self._sections:
            for place, section in enumerate(found):
                if section.name.lower() == name.lower() and room > 0:
                    tokens = self._find(section.text)
                    kept[place] = section.text if len(tokens) <= room else section.text[: tokens[room - 1][1]]
                    room -= len(tokens)
        if not kept:
            self.n_without_sections += 1
            return self._truncate(text, spans)
        return ["\n".join(kept[place].strip() for place in sorted(kept))]

    def _split(self, text: str, spans: Spans) -> list[str]:
        """Return windows of tokens that end with a sentence or a line where there is such an end."""
        ends = {end.end() for end in _SENTENCE_END.finditer(text)}
        parts, start = [], 0
        while True:
            stop = min(start + self._max, len(spans))
            if stop < len(spans):
                earliest = start + self._max - self._max // _LATE_PART
                stop = next((k for k in range(stop, earliest, -1) if _ends_between(ends, spans[k - 1][1], spans[k][0])), stop)
            parts.append(text[spans[start][0] : spans[stop - 1][1]].strip())
            if stop >= len(spans):
                return [part for part in parts if part]
            start = max(stop - self._overlap, start + 1)


def _ends_between(ends: set[int], end_of_token: int, start_of_next: int) -> bool:
    """Whether a sentence ends between two tokens; some tokenizers count the blank in front to a token."""
    return any(place in ends for place in range(end_of_token, start_of_next + 2))


def build_cutter(way: str, max_tokens: int, overlap: int, sections: Sequence[str], tokenizer: Path | None) -> Cutter:
    """Return a cutter that finds tokens with the tokenizer in a folder, without one by an estimate."""
    if way == "whole" or tokenizer is None:
        return Cutter(way, estimate_tokens, max_tokens, overlap, sections)
    return Cutter(way, build_finder(tokenizer), max_tokens, overlap, sections, str(tokenizer))
