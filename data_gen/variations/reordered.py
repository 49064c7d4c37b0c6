"""The words of a title in another order, as clinicians and the Alphabetic Index turn them.

`Type 2 diabetes mellitus with foot ulcer` becomes `foot ulcer in type 2 diabetes mellitus` or `diabetes mellitus, type 2,
with foot ulcer`. Every content word stays; only small words (of, with, in, due to, causing …) come and go.
"""

from __future__ import annotations

import random
import re

from data_gen.casing import type_case
from data_gen.folding import list_content_words
from data_gen.phrases import group_clauses, parse_title
from data_gen.turning import ANATOMY, list_forms
from data_gen.vocabulary import uncap_first
from data_gen.words import Words

_ENCOUNTER = re.compile(r"(?:initial|subsequent) encounter|sequela")
_SIDED = re.compile(r"left|right|bilateral|unilateral")
_SIDE_OF = re.compile(rf"(?:left|right|unspecified) (?:{ANATOMY})$")
_HANGING = re.compile(r"with|not |including|except|any |unspecified(?:$| with)")
"""Comma parts that belong to the part before them."""

_LOOSE_PART = re.compile(
    r"(?:unspecified|mild|moderate|severe|recurrent|acute|chronic|bilateral|unilateral|left|right|uncomplicated|single episode"
    r"|stage|type|class|primary|secondary|intractable|not intractable)\b"
)
_IN_DISEASE = re.compile(
    r"(?:other |certain )?(?:diseases?|conditions|neoplastic|infectious|parasitic|pregnancy|viral|bacterial)\b"
)
_STAYS = re.compile(
    r"(?:foreign body|return to|diseases classified elsewhere|(?:(?:other|unspecified) )?(?:specified )?complications?"
    r"|mild|moderate|severe|loss of consciousness|(?:tissue )?necrosis|muscle|bone|fat layer|intraarticular extension)\b",
    re.IGNORECASE,
)
"""What says nothing before the condition that it belongs to."""

_AGENTS = re.compile(r"(?:poisoning|adverse effect|underdosing|toxic effect)\b", re.IGNORECASE)
_MOST_PARTS_OF_AGENT = 2
_MOST_WORDS_UNSPECIFIED = 2
_SYSTEMIC = re.compile(r"diabet|hypertensi", re.IGNORECASE)
"""What has no side, whatever it does to an eye, and causes what it is said to be with."""

_VAGUE_CORE = re.compile(r"(?:other|unspecified)\b", re.IGNORECASE)
_LASTING = re.compile(
    r"diabet|hypertensi|disease|disorder|syndrome|lupus|arthritis|arthropathy|psoria|leukemia|lymphoma|an(?:a)?emia|fibrosis|porphyria"
    r"|sarcoid|dementia|infection",
    re.IGNORECASE,
)
"""Conditions within which others are said to be: `foot ulcer in type 2 diabetes`."""

_LINKS: dict[str, tuple[str, ...]] = {
    "with": ("in", "with", "with", "due to", "associated with"),
    "and with": ("with",),
    "due to": ("causing", "causing", "-induced"),
    "secondary to": ("causing",),
    "associated with": ("with", "associated with"),
    "in": ("with", "with", ","),
    "affecting": (",",),
}
"""Connector of a clause to what may stand between the clause and the core once the clause comes first."""


def vary(title: str, rng: random.Random, words: Words | None = None) -> str | None:
    """Return `title` with its words in another order; None when this attempt gave the same order or nothing can move."""
    core, clauses, parts = parse_title(uncap_first(title))
    forms = list_forms(core)
    moved = rng.choice(forms) if forms and rng.random() < 0.6 else core
    body, left = _place_clauses(moved, core, group_clauses(clauses), list(parts), rng)
    # a word taken out of the middle leaves its blank
    text = " ".join(_place_parts(body, left, rng).split())
    before, after = list_content_words(title), list_content_words(text)
    if before == after or sorted(before) != sorted(after):
        return None
    return type_case(text, rng)


def _place_clauses(core: str, plain: str, groups: list[str], parts: list[str], rng: random.Random) -> tuple[str, list[str]]:
    """Return the core with its clauses around it, and the comma parts not used up; `plain` is the core as it was."""
    if not groups:
        return core, parts
    draw = rng.random()
    if draw < 0.5:
        # one turn is enough: `bleeding with small intestine, diverticulitis` says nothing of the bowel
        turned = _turn_clause(plain, groups, rng)
        if turned is not None:
            return turned, parts
    if draw < 0.65 and len(groups) > 1 and all(group.startswith("with ") for group in groups):
        rng.shuffle(groups)
    elif draw < 0.75 and len(parts) == 1 and _LOOSE_PART.match(parts[0]) and _may_touch(parts[0], core) and "," not in core:
        return f"{core}, {parts[0]}, {' '.join(groups)}", []
    comma = "," if "," in core or rng.random() < 0.15 else ""
    return f"{core}{comma} {' '.join(groups)}", parts


def _turn_clause(core: str, groups: list[str], rng: random.Random) -> str | None:
    """Return one of the clauses before the core: `foot ulcer in type 2 diabetes mellitus`."""
    place = rng.randrange(len(groups))
    connector, phrase = _split_connector(groups[place])
    rest = groups[:place] + groups[place + 1 :]
    if connector not in _LINKS or (connector == "in" and not _IN_DISEASE.match(phrase)):
        return None
    if _STAYS.match(phrase) or _VAGUE_CORE.match(core):
        return None
    if rng.random() < 0.4 and (forms := list_forms(phrase)):
        phrase = rng.choice(forms)
    link = _choose_link(connector, core, phrase, rng)
    if link == "-induced" and (" " in phrase or rest):
        link = "causing"
    folds = connector == "with" and place == 0 and rest
    if folds and (rng.random() < 0.6 or any(clause.startswith("without ") for clause in rest)):
        phrase, rest = f"{phrase} {' '.join(rest)}", []
    tail = f"{',' if ',' in core else ''} {' '.join(rest)}" if rest else ""
    if link in (",", "-induced"):
        return f"{phrase}{link} {core}{tail}"
    comma = "," if "," in phrase else ""
    return f"{phrase}{comma} {link} {core}{tail}"


def _choose_link(connector: str, core: str, phrase: str, rng: random.Random) -> str:
    """Return what to put between clause and core; `due to` only where the title's `with` says so."""
    if "exacerbation" in phrase:
        return rng.choice(("of", "of", "in"))
    link = rng.choice(_LINKS[connector])
    if connector == "with" and link == "in" and (not _LASTING.search(core) or _LASTING.search(phrase)):
        return "with"
    return "with" if link == "due to" and not _SYSTEMIC.search(core) else link


def _split_connector(clause: str) -> tuple[str, str]:
    for connector in _LINKS:
        if clause.startswith(f"{connector} "):
            return connector, clause[len(connector) + 1 :]
    return "", clause


def _place_parts(body: str, parts: list[str], rng: random.Random) -> str:
    """Return the body with the comma parts around it, often in another order."""
    if not parts:
        return body
    # behind the first of several drugs stand the others
    listed = _AGENTS.match(body) and len(parts) > _MOST_PARTS_OF_AGENT
    if rng.random() < 0.35 and len(parts) > 1 and "unspecified" not in parts and not listed:
        rng.shuffle(parts)
    movable = [place for place, part in enumerate(parts) if not _HANGING.match(part)]
    if parts == ["unspecified"] and len(body.split(" ")) <= _MOST_WORDS_UNSPECIFIED:
        movable = [0]
    if listed:
        movable = [place for place in movable if _ENCOUNTER.match(parts[place])]
    if movable and rng.random() < 0.45:
        body = _put_first(parts.pop(rng.choice(movable)), body, rng)
        sided = len(parts) == 1 and _is_loose(parts[0]) and "," not in body and not _ENCOUNTER.match(body)
        if sided and rng.random() < 0.3:
            return f"{parts[0]} {body}"
    elif _SIDE_OF.match(parts[0]) and "," not in body and rng.random() < 0.4:
        body = f"{body} of {parts.pop(0)}"
    separator = ", " if rng.random() < 0.8 else rng.choice((" - ", "; "))
    return separator.join([body, *parts])


def _put_first(part: str, body: str, rng: random.Random) -> str:
    if _ENCOUNTER.match(part):
        return f"{part}{rng.choice((', ', ': ', ' - '))}{body}"
    if _is_loose(part) and _may_touch(part, body):
        return f"{body}, {part}" if "," in body.split(" with")[0] else f"{part} {body}"
    return f"{part}{rng.choice((', ', ' - ', ': '))}{body}"


def _may_touch(part: str, core: str) -> bool:
    """Whether a comma part may stand next to the core: no `bilateral diabetes`."""
    return not (_SYSTEMIC.search(core) and _SIDED.match(part))


def _is_loose(part: str) -> bool:
    """Whether a comma part may stand before the rest without a comma: `moderate`, `stage 2 (mild)`, `right eye`."""
    return _LOOSE_PART.match(part) is not None and len(part.split(" ")) <= 3
