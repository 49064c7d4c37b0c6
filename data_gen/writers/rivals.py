"""Why a text that passed every check of its own is still no row: another text of the data set says the same."""

from __future__ import annotations

from collections.abc import Iterable

from data_gen.examples import Example
from data_gen.folding import fold_text, list_content_words


class Rivals:
    """What a data set and the proposals for it say.

    Args:
        rows: the rows of the data set.
    """

    def __init__(self, rows: Iterable[Example]):
        self._rows = {(row.scenario, row.codes[0], row.text) for row in rows if len(row.codes) == 1}
        self._contents = {(code, list_content_words(text)) for _, code, text in self._rows}
        self._owners: dict[str, str] = {}

    def add(self, code: str, text: str) -> None:
        """Note that a text was proposed for a code."""
        folded = fold_text(text)
        if self._owners.setdefault(folded, code) != code:
            self._owners[folded] = ""

    def find_fault(self, variation: str, code: str, text: str) -> str | None:
        """Return which other text kept a proposal out, None when it is a row or was one too many."""
        if (variation, code, text) in self._rows:
            return None
        if self._owners.get(fold_text(text), code) != code:
            return "is also a text of another code"
        if (code, list_content_words(text)) in self._contents:
            return "differs from another text of its code in small words only"
        return None
