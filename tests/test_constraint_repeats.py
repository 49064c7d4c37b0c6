"""No code twice in an answer: any code set, any tokens, any limit, and every list of different codes stays possible."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from hypothesis import example, given, settings
from hypothesis import strategies as st

from icd10cm.constraining import AnswerState
from icd10cm.constraint import State, TokenAutomaton

ALPHABET = "AB1."
END = 0
code_sets = st.lists(st.text(ALPHABET, min_size=1, max_size=4), min_size=1, max_size=6, unique=True)
pieces = st.lists(st.text(ALPHABET + ", ", min_size=2, max_size=5), max_size=12)


def list_pieces(codes: list[str], seeds: list[int], more: list[str]) -> list[str]:
    """Return the texts of tokens: an end, every character, pieces of lists of `codes` (repeated ones, too), and `more`."""
    whole = ", ".join(codes[seed % len(codes)] for seed in seeds)
    cut = [whole[seed % len(whole) :][: 2 + seed % 7] for seed in seeds] if whole else []
    return ["", *dict.fromkeys([*"".join(sorted({*"".join(codes), ",", " "})), *cut, *filter(None, more)])]


@st.composite
def cases(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """Return a code set and the texts of tokens."""
    codes = draw(code_sets)
    return codes, list_pieces(codes, draw(st.lists(st.integers(0, 60), max_size=16)), draw(pieces))


NESTED = (["E11", "E11.9"], ["", *"E1.9, ", "E11", ", E11", "11, E11.9", "E11, E11", "9, E"])


@example(NESTED, 40, [1] * 40)
@example((["A", "B"], ["", "A", "B", ",", " ", ", A", "A, B", "A, B, A", " B"]), 12, [5, 3, 6, 2, 1])
@given(cases(), st.integers(1, 40), st.lists(st.integers(0, 10**6), min_size=40, max_size=40))
@settings(max_examples=200)
def test_every_answer_is_different_codes_within_any_limit(
    case: tuple[list[str], list[str]], limit: int, choices: list[int]
) -> None:
    codes, texts = case
    automaton = TokenAutomaton(codes, texts, [END])
    answer = AnswerState(automaton, limit)
    tokens: list[int] = []
    for choice in choices[:limit]:
        answer.follow(tokens)
        allowed = sorted(answer.allowed().tolist())
        assert allowed and len(set(allowed)) == len(allowed)
        # the end as the last choice, so that long answers are not rare
        token = ([t for t in allowed if t != END] or [END])[choice % max(1, len(allowed) - (END in allowed))]
        token = END if END in allowed and choice % 5 == 0 else token
        if token == END:
            break
        tokens.append(token)
    text = "".join(texts[token] for token in tokens)
    is_cut = text.endswith((",", ", "))
    written = text.rstrip(", ").split(", ") if text else []
    assert len(set(written)) == len(written) and set(written) <= set(codes), text
    assert not is_cut or len(written) < len(codes), "after the last code that there is, no separator"
    if not text:
        assert limit < max(map(len, codes)), "only a limit too short for a code gives an empty answer"


@example((["A", "AA", "B"], ["", "A", "B", ",", " ", "A, A", "AA", ", B", "A,", " A"]))
@given(cases())
@settings(max_examples=80)
def test_every_list_of_different_codes_can_be_written_in_every_way_and_nothing_else(case: tuple[list[str], list[str]]) -> None:
    codes, texts = case[0][:3], case[1]
    automaton = TokenAutomaton(codes, texts, [END])
    lists = {", ".join(few) for n in range(1, 4) for few in itertools.product(codes, repeat=n)}
    for text in lists:
        written = text.split(", ")
        may_be = len(set(written)) == len(written)
        for tokens in itertools.islice(cut_in_every_way(text, texts), 50):
            assert is_reachable(automaton, tokens) == may_be, (text, [texts[token] for token in tokens])


def cut_in_every_way(text: str, texts: list[str]) -> Iterator[list[int]]:
    """Yield the ways to spell `text`."""
    if not text:
        yield []
    for token, piece in enumerate(texts):
        if piece and text.startswith(piece):
            yield from ([token, *rest] for rest in cut_in_every_way(text[len(piece) :], texts))


def is_reachable(automaton: TokenAutomaton, tokens: list[int]) -> bool:
    """Whether an answer can be `tokens`, by what is allowed at each place; `step` must say the same."""
    state: State | None = TokenAutomaton.START
    for token in tokens:
        assert state
        is_allowed = token in automaton.allowed(state)
        state = automaton.step(state, token)
        assert is_allowed == (state is not None)
        if not is_allowed:
            return False
    return state is not None and END in automaton.allowed(state)


@given(cases(), st.integers(10, 40))
def test_one_code_alone_is_never_followed(case: tuple[list[str], list[str]], limit: int) -> None:
    automaton = TokenAutomaton(case[0], case[1], [END], lists=False)
    answer = AnswerState(automaton, limit)
    tokens: list[int] = []
    while END not in tokens:
        answer.follow(tokens)
        tokens.append(int(answer.allowed()[0]))
    assert "".join(case[1][token] for token in tokens) in case[0]


def test_a_cut_answer_ends_in_a_separator_and_a_whole_one_does_not() -> None:
    """A further code begins only where the longest one has room; with every code written, there is nothing more to say."""
    texts = ["", *"I10E.9, ", "I10", "E11.9"]
    automaton = TokenAutomaton(["I10", "E11.9"], texts, [END])
    first, separator = [texts.index("I10")], [texts.index(","), texts.index(" ")]
    for limit, begins in ((8, False), (9, True)):
        answer = AnswerState(automaton, limit)
        answer.follow([*first, *separator])
        assert (answer.allowed().tolist() != [END]) == begins
        answer.follow(first)
        assert {END, separator[0]} == set(answer.allowed().tolist())
    answer = AnswerState(automaton, 40)
    answer.follow([*first, *separator, texts.index("E11.9")])
    assert answer.allowed().tolist() == [END]


@example((["A", "AA", "B"], ["", "A", "B", ",", " ", "A, A", "AA", ", B", "A,", " A"]))
@given(cases())
@settings(max_examples=60)
def test_where_codes_may_come_again_every_list_can_be_written(case: tuple[list[str], list[str]]) -> None:
    codes, texts = case[0][:3], case[1]
    automaton = TokenAutomaton(codes, texts, [END])
    for listed in itertools.product(codes, repeat=3):
        state: State | None = TokenAutomaton.REPEATING
        for character in ", ".join(listed):
            token = texts.index(character)
            assert state is not None and token in automaton.allowed(state, 40), listed
            state = automaton.step(state, token)
        assert state is not None and END in automaton.allowed(state, 40)
