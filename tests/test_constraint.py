"""The constraint: the regular expression and the token automaton accept every code, lists of them, and nothing else."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest

from icd10cm import CodeSet
from icd10cm.code_regex import build_regex
from icd10cm.constraint import State, TokenAutomaton, read_token_texts


@pytest.fixture(scope="module")
def one(codes: CodeSet) -> re.Pattern[str]:
    return re.compile(build_regex(codes.codes, lists=False))


@pytest.fixture(scope="module")
def several(codes: CodeSet) -> re.Pattern[str]:
    return re.compile(build_regex(codes.codes))


@pytest.fixture(scope="module")
def automaton(codes: CodeSet, byte_level_tokenizer: Any) -> TokenAutomaton:
    return build_automaton(codes.codes, byte_level_tokenizer)


def build_automaton(codes: Iterable[str], tokenizer: Any, lists: bool = True) -> TokenAutomaton:
    return TokenAutomaton(codes, read_token_texts(tokenizer), [tokenizer.eos_token_id], lists)


def is_accepted(automaton: TokenAutomaton, tokens: Iterable[int], end: int) -> bool:
    """Whether a generation bound by `automaton` could write `tokens` and then end."""
    state = TokenAutomaton.START
    for token in tokens:
        following = automaton.step(state, token)
        if following is None:
            return False
        state = following
    return end in automaton.allowed(state)


def write_at_random(automaton: TokenAutomaton, tokenizer: Any, seeded: random.Random, budget: int | None = None) -> str:
    """Return the text of one answer drawn among the allowed tokens; short ones are made likely."""
    state, written = TokenAutomaton.START, []
    while budget is None or len(written) < budget:
        allowed = automaton.allowed(state, None if budget is None else budget - len(written)).tolist()
        may_end = tokenizer.eos_token_id in allowed
        token = tokenizer.eos_token_id if may_end and seeded.random() < 0.3 else seeded.choice(allowed)
        if token == tokenizer.eos_token_id:
            break
        written.append(token)
        following = automaton.step(state, token)
        assert following is not None, "an allowed token leads nowhere"
        state = following
    return tokenizer.decode(written)


def test_regex_is_small_and_plain(codes: CodeSet) -> None:
    regex = build_regex(codes.codes)
    assert len(regex) < 100_000
    assert set(re.sub(r"[A-Z0-9]", "", regex)) <= set("[]-()|?*, \\.")


def test_regex_matches_every_code(codes: CodeSet, one: re.Pattern[str], several: re.Pattern[str]) -> None:
    for code in codes.codes:
        assert one.fullmatch(code) and several.fullmatch(code), code


def test_regex_matches_lists(codes: CodeSet, one: re.Pattern[str], several: re.Pattern[str]) -> None:
    seeded = random.Random(2)
    for length in (2, 3, 10, 39):
        together = ", ".join(seeded.sample(codes.codes, length))
        assert several.fullmatch(together) and not one.fullmatch(together)


def test_regex_refuses_non_codes(non_codes: list[str], one: re.Pattern[str], several: re.Pattern[str]) -> None:
    assert len(non_codes) == 10_000
    for text in non_codes:
        assert not one.fullmatch(text) and not several.fullmatch(text), text
        assert not several.fullmatch(f"I10, {text}") and not several.fullmatch(f"{text}, I10"), text


@pytest.mark.parametrize(
    "text", ["", "I10,", "I10, ", ", I10", "I10,E11.9", "I10,  E11.9", "I10 E11.9", "I10.", "i10", " I10", "I10\n", "E119"]
)
def test_regex_refuses_other_ways_to_write_codes(several: re.Pattern[str], one: re.Pattern[str], text: str) -> None:
    assert not several.fullmatch(text) and not one.fullmatch(text)


@pytest.mark.parametrize(
    "few",
    [
        ["I10"],
        ["I10", "I11.0"],
        ["E11", "E11.9"],
        ["A00.0", "A00.1", "A00.2", "B00.0", "B00.1", "B00.2"],
        ["E11.9", "E119", "E1"],
    ],
)
def test_regex_of_a_few_codes_matches_just_them(few: list[str]) -> None:
    regex = re.compile(build_regex(few, lists=False))
    near = (
        {code[:end] for code in few for end in range(len(code) + 1)} | {code + "0" for code in few} | {"A00.3", "B0", "E11.8"}
    )
    assert {text for text in near if regex.fullmatch(text)} == set(few)


def test_tokens_span_several_characters(byte_level_tokenizer: Any) -> None:
    texts = read_token_texts(byte_level_tokenizer)
    assert len(texts) == 1000 and texts[byte_level_tokenizer.eos_token_id] == ""
    assert any(text.startswith(", ") and len(text) > 3 for text in texts), "some tokens join the separator and the next code"
    assert any("." in text and len(text) > 4 for text in texts)


def test_automaton_accepts_every_code(codes: CodeSet, byte_level_tokenizer: Any, automaton: TokenAutomaton) -> None:
    end = byte_level_tokenizer.eos_token_id
    for code, tokens in zip(codes.codes, byte_level_tokenizer(list(codes.codes))["input_ids"], strict=True):
        assert is_accepted(automaton, tokens, end), code


def test_automaton_accepts_every_way_to_cut_a_list_into_tokens(byte_level_tokenizer: Any, automaton: TokenAutomaton) -> None:
    seeded = random.Random(3)
    ids = {text: token for token, text in enumerate(read_token_texts(byte_level_tokenizer)) if text}
    text = "E11.621, I10, S72.001A, QA0.0101"
    for _ in range(200):
        tokens, place = [], 0
        while place < len(text):
            pieces = [text[place:end] for end in range(place + 1, len(text) + 1) if text[place:end] in ids]
            tokens.append(ids[seeded.choice(pieces)])
            place += len(byte_level_tokenizer.decode(tokens[-1]))
        assert is_accepted(automaton, tokens, byte_level_tokenizer.eos_token_id)


def test_automaton_refuses_non_codes(non_codes: list[str], byte_level_tokenizer: Any, automaton: TokenAutomaton) -> None:
    end = byte_level_tokenizer.eos_token_id
    for text, tokens in zip(non_codes, byte_level_tokenizer(non_codes)["input_ids"], strict=True):
        assert not is_accepted(automaton, tokens, end), text


@pytest.mark.parametrize("text", ["", "I10,", "I10, ", ", I10", "I10,E11.9", "I10.", "i10", " I10", "cough", "I10é"])
def test_automaton_refuses_other_ways_to_write_codes(byte_level_tokenizer: Any, automaton: TokenAutomaton, text: str) -> None:
    assert not is_accepted(automaton, byte_level_tokenizer.encode(text), byte_level_tokenizer.eos_token_id)


def test_automaton_for_one_code_takes_no_list(codes: CodeSet, byte_level_tokenizer: Any) -> None:
    single = build_automaton(codes.codes, byte_level_tokenizer, lists=False)
    end = byte_level_tokenizer.eos_token_id
    assert is_accepted(single, byte_level_tokenizer.encode("I10"), end)
    assert not is_accepted(single, byte_level_tokenizer.encode("I10, E11.9"), end)


def test_automaton_with_a_code_that_begins_another(byte_level_tokenizer: Any) -> None:
    nested = build_automaton(["E11", "E11.9"], byte_level_tokenizer)
    end = byte_level_tokenizer.eos_token_id
    accepted = [
        text
        for text in ("E11", "E11.9", "E11, E11.9", "E11.9, E11", "E1", "E11.")
        if is_accepted(nested, byte_level_tokenizer.encode(text), end)
    ]
    assert accepted == ["E11", "E11.9", "E11, E11.9", "E11.9, E11"]


def test_step_ends_with_the_answer(byte_level_tokenizer: Any, automaton: TokenAutomaton) -> None:
    assert automaton.step(TokenAutomaton.START, byte_level_tokenizer.eos_token_id) is None
    assert automaton.step(TokenAutomaton.START, 10**6) is None
    assert byte_level_tokenizer.eos_token_id not in automaton.allowed(TokenAutomaton.START)


def test_allowed_tokens_are_those_that_lead_on(codes: CodeSet, byte_level_tokenizer: Any, automaton: TokenAutomaton) -> None:
    end = byte_level_tokenizer.eos_token_id
    for code in random.Random(4).sample(codes.codes, 50):
        state = TokenAutomaton.START
        for token in byte_level_tokenizer.encode(code):
            leading_on = {token for token in range(len(byte_level_tokenizer)) if automaton.step(state, token) is not None}
            assert set(automaton.allowed(state).tolist()) - {end} == leading_on and token in leading_on
            state = automaton.step(state, token) or TokenAutomaton.START


def test_what_is_written_at_random_is_a_list_of_codes(
    byte_level_tokenizer: Any, automaton: TokenAutomaton, several: re.Pattern[str]
) -> None:
    seeded = random.Random(5)
    written = [write_at_random(automaton, byte_level_tokenizer, seeded) for _ in range(200)]
    assert all(several.fullmatch(text) for text in written)
    assert any("," in text for text in written) and any("," not in text for text in written)


@pytest.mark.parametrize("budget", [8, 9, 12, 20])
def test_a_token_limit_never_cuts_a_code(
    byte_level_tokenizer: Any, automaton: TokenAutomaton, several: re.Pattern[str], budget: int
) -> None:
    seeded = random.Random(budget)
    for _ in range(100):
        text = write_at_random(automaton, byte_level_tokenizer, seeded, budget)
        assert several.fullmatch(text.removesuffix(" ").removesuffix(","))


def test_sentencepiece_marks_are_spaces() -> None:
    class Marked:
        all_special_ids = (0,)

        def __len__(self) -> int:
            return 4

        def convert_ids_to_tokens(self, ids: Iterable[int]) -> list[str | None]:
            return [["<s>", "▁E11", "Ġ", None][i] for i in ids]

    assert read_token_texts(Marked()) == ["", " E11", " ", ""]


def test_allowed_tokens_come_in_order(automaton: TokenAutomaton, byte_level_tokenizer: Any) -> None:
    """Training sums over them, and a resumed run must come to the same bits in a process with another hash seed."""
    state: State | None = TokenAutomaton.START
    for token in byte_level_tokenizer.encode("E11.621, I10", add_special_tokens=False):
        assert state is not None
        allowed = automaton.allowed(state)
        inside = allowed[~np.isin(allowed, automaton.eos)]
        assert (np.diff(inside) > 0).all() and (
            np.isin(allowed, automaton.eos) == sorted(np.isin(allowed, automaton.eos))
        ).all()
        state = automaton.step(state, token)
