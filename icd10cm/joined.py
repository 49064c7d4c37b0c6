"""Conditions joined by a comma, `and`, `&` or `with`, where letters do not tell whether they are several: the surer reading.

`Type 2 diabetes with foot ulcer` is one condition, `gout and asthma` are two. So who codes texts is asked for the whole, and
where it is unsure of that, for what stands between the joints, alone and with its neighbours; the parts count where they are
surer together than the whole is.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping

from icd10cm.conditions import Span, strip_span

SURE = 0.99
"""Confidence from which a whole is not asked about in parts."""
_MOST_JOINED = 4
"""Pieces between joints that a part may have."""
_MOST_PIECES = 24
_JOINT = re.compile(r",\s+(?:(?:and|with)\s+)?|\s+(?:and|&|with|w/)\s+", re.IGNORECASE)
_FEWEST_LETTERS = 2


def list_parts(text: str) -> list[Span]:
    """Return what in a text may be a condition of its own: neighbouring pieces between joints, never all of them.

    >>> [text[slice(*part)] for text in ["gout, CHF & asthma"] for part in list_parts(text)]
    ['gout', 'gout, CHF', 'CHF', 'CHF & asthma', 'asthma']
    """
    pieces = _list_pieces(text)
    if not 1 < len(pieces) <= _MOST_PIECES:
        return []
    return [
        (pieces[first][0], pieces[last][1])
        for first in range(len(pieces))
        for last in range(first, min(first + _MOST_JOINED, len(pieces)))
        if last - first < len(pieces) - 1
    ]


def choose_parts(text: str, confidences: Mapping[Span, float], whole: float) -> list[Span]:
    """Return the parts that a text is best read in; the text itself where nothing is surer.

    Args:
        text: several pieces between joints.
        confidences: part, as `list_parts` has it, to the confidence of its answer, 0 to 1.
        whole: confidence of the answer to the text itself.
    """
    pieces = _list_pieces(text)
    best: list[tuple[float, list[Span]]] = [(1.0, [])]
    for last in range(len(pieces)):
        ways = (
            (best[first][0] * confidences.get((pieces[first][0], pieces[last][1]), 0.0), first) for first in range(last + 1)
        )
        confidence, first = max(ways)
        best.append((confidence, [*best[first][1], (pieces[first][0], pieces[last][1])]))
    return best[-1][1] if best[-1][0] > whole else [(0, len(text))]


def _list_pieces(text: str) -> list[Span]:
    """Return what stands between joints; a piece without letters goes with the one before."""
    edges = [0, *itertools.chain.from_iterable(joint.span() for joint in _JOINT.finditer(text)), len(text)]
    pieces: list[Span] = []
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        piece = strip_span(text, start, end)
        if sum(map(str.isalpha, text[slice(*piece)])) >= _FEWEST_LETTERS or not pieces:
            pieces.append(piece)
        else:
            pieces[-1] = (pieces[-1][0], piece[1])
    return pieces
