"""Whether a text still says what its code says and holds what its variation promises: every row passes here, whoever wrote it.

A text that fails is thrown away under one reason; the data set's card counts them.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Mapping, Sequence

from data_gen.folding import fold_text, list_content_words
from data_gen.lexicon import Lexicon
from data_gen.slips import undo_slips
from data_gen.vocabulary import read_words
from data_gen.words import read_own_words
from icd10cm.codeset import CodeSet, add_dot
from icd10cm.tabular import Tabular

_CODE = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]\d[0-9A-Za-z](?:\.?[0-9A-Za-z]{1,4})?(?![A-Za-z0-9])")
_SIDES = frozenset(("left", "right", "bilateral", "unilateral"))
_NEGATIONS = frozenset(("without", "no", "not", "never", "except"))
_ENCOUNTER = {"initial": "initial", "subsequent": "subsequent", "encounter": "encounter", "sequelae": "sequela"}
_SHORTEST_CLIP = 4
_SHORTEST_ALONE = 2
_STEM = 5
_NEAR = 3
_MOST_LETTERS = 6
_DETAILS = {word: word for word in (*_SIDES, *_NEGATIONS, "unspecified")} | {
    word[:end]: plain for word, plain in _ENCOUNTER.items() for end in range(_SHORTEST_CLIP, len(word) + 1)
}
"""Words that no rewriting may change, and the beginnings that an encounter is clipped to."""

PLAIN_NAME, BARE_NAME = "rules:plain_name", "rules:bare_name"
"""Sources of what a code is called when nothing more is said (`data_gen.bare_names`): by itself, and in a frame."""

_DETAIL = re.compile(r"\d+|[a-z]+")
_SAME_SIDES = {"both": "bilateral", "bilaterally": "bilateral", "unspecified": None}


class RowChecks:
    """The checks over one release.

    Args:
        codeset: no text may be the title of another of its codes or headings, or hold one of its codes.
        tabular: no text may be an inclusion term of another code.
        lexicon: the short forms that a text may hold; the project's own when omitted.
    """

    def __init__(self, codeset: CodeSet, tabular: Tabular, lexicon: Lexicon | None = None) -> None:
        self._codeset = codeset
        self._lexicon = lexicon or read_own_words().lexicon
        self._owners = {name: _find_only_code(name, codeset) for name in codeset.headings}
        self._titles = list_meanings((heading.title, self._owners[code]) for code, heading in codeset.headings.items())
        notes = (note for note in tabular.all_notes() if note.kind == "inclusion_term")
        self._terms = list_meanings((note.text, self._owners.get(note.node, note.node)) for note in notes)

    def find_fault(self, variation: str, text: str, folded: str, code: str, source: str) -> str | None:
        """Return why `text` can be no row of `code`, None when it can.

        Args:
            variation: what was promised: one of `data_gen.variations.VARIATIONS`.
            text: as typed.
            folded: `fold_text(text)`.
            code: billable code.
            source: who wrote it; one that ends in `:clipped` promises no short form of the lexicon.
        """
        title = self._codeset.title(code)
        title_of, term_of = self._titles.get(folded, code), self._terms.get(folded, code)
        if source in (PLAIN_NAME, BARE_NAME):
            # a bare name may be that of a heading above, whose code for what is left open this one is
            title_of, term_of = (code if owner and code.startswith(owner) else owner for owner in (title_of, term_of))
        if title_of != code:
            return "is the title of another code"
        if term_of != code:
            return "is an inclusion term of another code"
        if self.has_code(text, title):
            return "carries a code"
        return _PROMISES[variation](title, text, source, self._lexicon)

    def has_code(self, text: str, title: str = "") -> bool:
        """Whether `text` holds a code or heading of the release that `title` does not."""
        found = (found[0] for found in _CODE.finditer(text))
        return any(add_dot(word) in self._codeset.headings and word.lower() not in title.lower() for word in found)


def list_meanings(said: Iterable[tuple[str, str]]) -> Mapping[str, str]:
    """Return folded text to the code it stands for, an empty code where it stands for several."""
    meanings: dict[str, str] = {}
    for text, code in said:
        folded = fold_text(text)
        if folded and meanings.setdefault(folded, code) != code:
            meanings[folded] = ""
    return meanings


def _find_only_code(name: str, codeset: CodeSet) -> str:
    """Return the one billable code at or below a heading, the heading where there are more."""
    while below := codeset.children(name):
        if len(below) > 1:
            return name
        name = below[0]
    return name


@functools.lru_cache(maxsize=64)
def list_details(text: str) -> tuple[str, ...]:
    """Return the sides, digits, negations, encounter words and `unspecified` of `text`, sorted.

    >>> list_details("Type 2 diabetes without complications, left eye")
    ('2', 'left', 'without')
    """
    tokens = _DETAIL.findall(text.lower().replace("w/o", "without"))
    return tuple(sorted(detail for detail in map(_find_detail, tokens) if detail))


# most words come up in thousands of titles
@functools.lru_cache(maxsize=1 << 16)
def _find_detail(token: str) -> str:
    if token.isdigit():
        return token
    return "non" if token.startswith("non") else _DETAILS.get(token, "")


def keeps_details(title: str, text: str, lexicon: Lexicon) -> bool:
    """Whether `text` says the sides, digits … of `title`, in full or in short forms of the lexicon: `L`, `w/o`, `subseq`."""
    details = list_details(title)
    expanded = shown = text.lower()
    for short, long in _list_detailed_forms(title, lexicon):
        # most short forms of a title are not in the text
        if short.lower() not in expanded and short.lower() not in shown:
            continue
        expanded = _find_whole(short).sub(long, expanded)
        if not _find_whole(short).search(title.lower()):
            shown = _find_whole(short).sub(long, shown)
    # what the title itself has in short (`… anti-inflammatories (NSAID)`) may stand beside its long form or instead of it
    return details in (list_details(expanded), list_details(shown))


@functools.lru_cache(maxsize=64)
def _list_detailed_forms(title: str, lexicon: Lexicon) -> tuple[tuple[str, str], ...]:
    forms = {(short, hit.long) for hit in lexicon.find_short_forms(title) for short in hit.shorts}
    detailed = [(short, long) for short, long in forms if list_details(short) or list_details(long)]
    return tuple(sorted(detailed, key=lambda form: (-len(form[1]), form)))


@functools.lru_cache(maxsize=4096)
def _find_whole(short: str) -> re.Pattern[str]:
    """Return the pattern of a short form that stands alone; `OS` does not in `d/os`."""
    joined = "/" if len(short) <= _SHORTEST_ALONE else ""
    before = rf"(?<![\w{joined}])" if short[0].isalnum() else ""
    after = rf"(?![\w{joined}])" if short[-1].isalnum() else ""
    return re.compile(before + re.escape(short.lower()) + after)


def _check_reordered(title: str, text: str, source: str, lexicon: Lexicon) -> str | None:
    before, after = list_content_words(title), list_content_words(text)
    if sorted(before) != sorted(after):
        return "has other words than its title"
    if before == after:
        return "has the words of its title in the same order"
    return None if _list_negated(after) <= _list_negated(before, _NEAR) else "negates something else"


def _list_negated(content: Sequence[str], near: int = 1) -> set[tuple[str, str]]:
    """Return (negation, word) for the `near` words after each negation."""
    places = [place for place, word in enumerate(content) if word in _NEGATIONS]
    return {(content[place], word) for place in places for word in content[place + 1 : place + 1 + near]}


def _check_abbreviated(title: str, text: str, source: str, lexicon: Lexicon) -> str | None:
    if not keeps_details(title, text, lexicon):
        return "changes a side, digit, negation or encounter"
    if source.endswith(":clipped"):
        return None
    if not _holds_short_form(title, text, lexicon):
        return "holds no short form of the lexicon"
    return "is a short form of another term too" if _may_mean_other(fold_text(text), title, lexicon) else None


def _holds_short_form(title: str, text: str, lexicon: Lexicon) -> bool:
    lower = text.lower()
    shorts = (short for hit in lexicon.find_short_forms(title) for short in hit.shorts)
    return any(short.lower() in lower and _find_whole(short).search(lower) for short in shorts)


def _may_mean_other(folded: str, title: str, lexicon: Lexicon) -> bool:
    """Whether a text is a short form that also stands for a term with no word like one of the title's."""
    stems = {word[:_STEM] for word in fold_text(title).split()}
    return any(not any(word[:_STEM] in stems for word in long.split()) for long in lexicon.list_meanings(folded))


def _check_typo(title: str, text: str, source: str, lexicon: Lexicon) -> str | None:
    before, after = ([word for word in list_details(said) if word != "unspecified"] for said in (title, text))
    if before != after:
        return "changes a side, digit, negation or encounter"
    if abs(len(text) - len(title)) > _MOST_LETTERS:
        return "is no misspelling of its title"
    written = set(fold_text(text).split()) - set(fold_text(title).split())
    if not written or any(word in read_words() for word in written):
        return "has no misspelt word, or another word of the titles"
    return None


def _check_paraphrased(title: str, text: str, source: str, lexicon: Lexicon) -> str | None:
    if set(list_content_words(text)) == set(list_content_words(title)):
        return "has the words of its title"
    if source in (PLAIN_NAME, BARE_NAME) and _may_mean_other(fold_text(text), title, lexicon):
        return "is a short form of another term too"
    sides, said = ({_SAME_SIDES.get(word, word) for word in list_content_words(t)} & _SIDES for t in (title, text))
    return "changes a side, digit, negation or encounter" if said != sides else None


def _check_mixed(title: str, text: str, source: str, lexicon: Lexicon) -> str | None:
    """Find the fault of the text with its slips undone, as of a reordered or an abbreviated one."""
    shorts = {token for hit in lexicon.find_short_forms(title) for short in hit.shorts for token in fold_text(short).split()}
    undone, slips = undo_slips(title, text, shorts, _DETAILS.keys() - {"unspecified"})
    if not slips or any(wrong in read_words() or lexicon.is_short(wrong) for wrong in slips):
        return "has no misspelt word, or another word of the titles or short form"
    turned, shortened = _check_reordered(title, undone, source, lexicon), _check_abbreviated(title, undone, source, lexicon)
    if not shortened and not _holds_short_form(title, text, lexicon):
        shortened = "misspells its short form"
    faults = {"rules:reordered+typo": [turned], "rules:abbreviated+typo": [shortened]}.get(source, [turned, shortened])
    return faults[-1] if all(faults) else None


_PROMISES = {
    "reordered": _check_reordered,
    "abbreviated": _check_abbreviated,
    "typo": _check_typo,
    "paraphrased": _check_paraphrased,
    "mixed": _check_mixed,
}
"""Variation to what must hold of its texts."""
