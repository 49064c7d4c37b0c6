"""The words of the embedded release's titles."""

from __future__ import annotations

import functools
import re

from icd10cm.codeset import CodeSet

_WORD = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")


@functools.cache
def read_words() -> frozenset[str]:
    """Return every word of any title in lower case; `Lowe's` is also `lowe`."""
    return frozenset(part for word in _list_words() for part in (word.lower(), word.lower().partition("'")[0]))


@functools.cache
def read_common_words() -> frozenset[str]:
    """Return the words that some title has in lower case, so that a capital says nothing (`Acute`, not `Barth`)."""
    return frozenset(word for word in _list_words() if word.islower())


@functools.lru_cache(maxsize=256)
def uncap_first(title: str) -> str:
    """Return `title` with its first letter in lower case, unless the first word is a name or an acronym."""
    first = _WORD.match(title)
    is_word = first is not None and not first[0][1:].isupper() and first[0].lower() in read_common_words()
    return title[:1].lower() + title[1:] if is_word else title


@functools.cache
def _list_words() -> frozenset[str]:
    return frozenset(word for heading in CodeSet.load().headings.values() for word in _WORD.findall(heading.title))
