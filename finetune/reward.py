"""What one answer is worth: the codes it shares with the right ones, part credit for the category, less what is wrong in form.

>>> from icd10cm import CodeSet
>>> reward_answer("E11.621, I10", ["E11.621", "I10"], CodeSet.load(), RewardWeights())
1.0
>>> reward_answer("E11.622", ["E11.621"], CodeSet.load(), RewardWeights())
0.3
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pydantic import Field

from icd10cm.answers import read_answer
from icd10cm.codeset import CodeSet, add_dot
from icd10cm.config import Settings
from icd10cm.prompts import SEPARATOR


class RewardWeights(Settings):
    """What counts besides the right codes; all of it in parts of 1, which is what exactly the right codes earn."""

    category: float = Field(
        0.3, ge=0, lt=1, description="a wrong code in the category of a missed one, in parts of a right code"
    )
    invalid: float = Field(0.5, ge=0, description="taken off when all codes written are none of the release; in parts for some")
    duplicate: float = Field(0.5, ge=0, description="taken off by the share of codes that were written before")
    principal: float = Field(0.0, ge=0, description="given on top where the principal diagnosis stands first")


def reward_answer(completion: str, wanted: Sequence[str], codes: CodeSet, weights: RewardWeights) -> float:
    """Return the reward of a completion.

    It is the F1 of the answer's codes and the wanted ones as sets, in which a wrong code counts as `weights.category` of a
    right one where it stands in the category of a missed code (each missed code once), and an invalid code as a wrong one;
    less the shares of invalid and of repeated codes among those written, times their weights. Exactly the wanted codes in any
    order earn 1, and more only where `weights.principal` is given; no answer earns 0.

    Args:
        completion: what the model wrote, without special tokens.
        wanted: dotted codes, principal diagnosis first; at least one.
        codes: the release that says which codes are valid.
        weights: see `RewardWeights`.
    """
    answer = read_answer(completion, codes)
    n_repeated = _count_repeated(completion, answer.codes)
    n_written = len(answer.codes) + len(answer.rejected) + n_repeated
    if not n_written:
        return 0.0
    right = set(wanted) & set(answer.codes)
    missed = Counter(code[:3] for code in wanted if code not in right)
    near = Counter(code[:3] for code in answer.codes if code not in right) & missed
    shared = len(right) + weights.category * near.total()
    f1 = 2 * shared / (len(set(wanted)) + len(answer.codes) + len(answer.rejected))
    penalty = (weights.invalid * len(answer.rejected) + weights.duplicate * n_repeated) / n_written
    return f1 - penalty + weights.principal * (answer.codes[:1] == (wanted[0],))


def _count_repeated(completion: str, distinct: Sequence[str]) -> int:
    """Return how often a valid code of a list stands in it again."""
    written = Counter(add_dot(piece.strip()) for piece in completion.split(SEPARATOR.strip()))
    return sum(written[code] - 1 for code in distinct if written[code] > 1)
