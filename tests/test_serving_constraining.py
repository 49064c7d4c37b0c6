"""The constraint while an answer is written: any limit, any order of tokens, only whole billable codes."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from icd10cm import CodeSet
from icd10cm.constraining import AnswerState, mask_rows
from icd10cm.constraint import TokenAutomaton, read_token_texts


@pytest.fixture(scope="module")
def automaton(codes: CodeSet, byte_level_tokenizer: Any) -> TokenAutomaton:
    return TokenAutomaton(codes.codes, read_token_texts(byte_level_tokenizer), [byte_level_tokenizer.eos_token_id])


def write_answer(automaton: TokenAutomaton, limit: int, eos: int, seeded: random.Random) -> list[int]:
    """Return the tokens of an answer written at random within the constraint."""
    state = AnswerState(automaton, limit)
    tokens: list[int] = []
    while len(tokens) < limit and eos not in tokens:
        state.follow(tokens)
        tokens.append(int(seeded.choice(state.allowed())))
    return tokens


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 30])
def test_no_limit_cuts_a_code_in_two(automaton: TokenAutomaton, codes: CodeSet, byte_level_tokenizer: Any, limit: int) -> None:
    eos, seeded = byte_level_tokenizer.eos_token_id, random.Random(limit)
    written = set()
    for _ in range(300):
        tokens = write_answer(automaton, limit, eos, seeded)
        text = byte_level_tokenizer.decode(tokens, skip_special_tokens=True)
        answered = [part for part in text.rstrip(", ").split(", ") if part]
        assert set(answered) <= set(codes.codes), text
        written |= set(answered)
    assert len(written) > 50 or limit < 3


def test_after_its_end_an_answer_can_only_end_again(automaton: TokenAutomaton, byte_level_tokenizer: Any) -> None:
    eos = byte_level_tokenizer.eos_token_id
    state = AnswerState(automaton, 50)
    state.follow([*byte_level_tokenizer.encode("I10"), eos])
    assert state.allowed().tolist() == [eos]


def test_tokens_that_are_taken_back_are_forgotten(automaton: TokenAutomaton, byte_level_tokenizer: Any) -> None:
    state, fresh = AnswerState(automaton, 50), AnswerState(automaton, 50)
    state.follow(byte_level_tokenizer.encode("E11.621"))
    shorter = byte_level_tokenizer.encode("I1")
    state.follow(shorter[:1])
    fresh.follow(shorter[:1])
    assert state.allowed().tolist() == fresh.allowed().tolist()


def test_a_token_that_is_not_known_yet_is_read_once_it_is(automaton: TokenAutomaton, byte_level_tokenizer: Any) -> None:
    """vLLM notes -1 for a token still being computed, and takes an answer up again from its tokens after a pause."""
    tokens = byte_level_tokenizer.encode("I10, E11.9")
    state, resumed, fresh = (AnswerState(automaton, 50) for _ in range(3))
    for end in range(len(tokens) + 1):
        state.follow([*tokens[:end], -1])
        state.follow(tokens[:end])
        if end % 3 == 0:
            resumed.follow([])
        resumed.follow(tokens[:end])
    fresh.follow(tokens)
    assert state.allowed().tolist() == resumed.allowed().tolist() == fresh.allowed().tolist()


def test_only_allowed_tokens_of_the_rows_asked_for_are_left() -> None:
    import torch

    logits = torch.arange(15.0).reshape(3, 5)
    mask_rows(logits, [0, 2], [np.array([1, 3]), np.array([4])])
    none = -torch.inf
    expected = [[none, 1.0, none, 3.0, none], [5.0, 6.0, 7.0, 8.0, 9.0], [none, none, none, none, 14.0]]
    assert torch.equal(logits, torch.tensor(expected))
    mask_rows(logits, [0, 1, 2], [np.array([0]), np.array([0, 1]), np.array([2])])
    assert logits.isfinite().sum(1).tolist() == [1, 2, 1]


def test_a_row_whose_allowed_tokens_are_forbidden_elsewhere_can_be_sampled() -> None:
    import torch

    logits = torch.full((1, 4), -torch.inf)
    mask_rows(logits, [0], [np.array([2])])
    assert torch.softmax(logits, 1).tolist() == [[0.0, 0.0, 1.0, 0.0]]
