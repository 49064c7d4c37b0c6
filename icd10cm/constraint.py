"""The code set as a constraint on generation: a prefix-shared regular expression, and an automaton over tokens.

Both accept one code, or codes joined by `", "`, and nothing else. The regular expression is for engines that take one per
request; the automaton is built once and needs nothing in the request, so that it costs a server next to nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from icd10cm.prompts import SEPARATOR

_END = ""
Trie = dict[str, "Trie"]


def build_regex(codes: Iterable[str], lists: bool = True) -> str:
    """Return a regular expression that matches exactly `codes` (dotted), or lists of them joined by `", "`.

    Shared prefixes are written once and characters with the same continuation share a class, so that the whole of
    ICD-10-CM is about 50 kB. Only character classes, groups, `?` and `*` are used, which every grammar engine reads.
    """
    one = _write_regex(_build_trie(codes))
    return f"{one}({SEPARATOR}{one})*" if lists else one


class TokenAutomaton:
    """The tokens that keep an answer within the code set, whatever way a tokenizer cuts codes into pieces.

    A state is an int; `START` before the first token. Answers are codes joined by `", "`, ended by an end-of-sequence token,
    which is allowed only after a complete code.

    Attributes:
        eos: the ids that end an answer, an int64 array.
    """

    START = 0

    def __init__(self, codes: Iterable[str], token_texts: Sequence[str], eos_ids: Iterable[int], lists: bool = True):
        """Build the automaton.

        Args:
            codes: dotted codes.
            token_texts: text of each token by id (see `read_token_texts`).
            eos_ids: ids that end an answer.
            lists: whether more than one code may be written.
        """
        self._edges: list[dict[str, int]] = [{}]
        ends = set()
        for code in codes:
            state = self.START
            for character in code:
                state = self._add_edge(state, character)
            ends.add(state)
        self._ends = frozenset(ends)
        self._to_whole = self._count_to_whole()
        self._longest = max(self._to_whole) + 1
        if lists and ends:
            self._add_separator()
        alphabet = {character for edges in self._edges for character in edges}
        self.eos = np.array(sorted(set(eos_ids)), dtype=np.int64)
        self._texts = token_texts
        self._by_first: dict[str, list[int]] = {}
        for token, text in enumerate(token_texts):
            if text and alphabet.issuperset(text):
                self._by_first.setdefault(text[0], []).append(token)
        self._allowed: dict[int, np.ndarray] = {}
        self._fitting: dict[tuple[int, int], np.ndarray] = {}

    def step(self, state: int, token: int) -> int | None:
        """Return the state after `token`, None when the answer has left the code set or has ended."""
        return self._walk(state, self._texts[token]) if token < len(self._texts) and self._texts[token] else None

    def allowed(self, state: int, budget: int | None = None) -> np.ndarray:
        """Return the token ids allowed next, an int64 array; worked out on the first visit to a state, then kept.

        Args:
            state: what was written so far.
            budget: tokens that may still be written, this one included. Where it runs out, only tokens are left from which
                the code can still be finished, so that the limit never cuts a code in two; without room for one it ends.
        """
        if budget is None or budget > self._longest:
            return self._find_allowed(state)
        if (state, budget) not in self._fitting:
            self._fitting[state, budget] = self._find_fitting(state, budget)
        return self._fitting[state, budget]

    def _find_fitting(self, state: int, budget: int) -> np.ndarray:
        inside = [token for token in self._find_allowed(state).tolist() if self._texts[token]]
        fitting = [token for token in inside if self._to_whole[self._walk(state, self._texts[token]) or 0] < budget]
        ending = self.eos if state in self._ends or not fitting else self.eos[:0]
        return np.concatenate([np.array(fitting, dtype=np.int64), ending])

    def _find_allowed(self, state: int) -> np.ndarray:
        if state not in self._allowed:
            tokens = [
                token
                for first in self._edges[state]
                for token in self._by_first.get(first, ())
                if self._walk(state, self._texts[token]) is not None
            ]
            inside = np.array(sorted(tokens), dtype=np.int64)
            self._allowed[state] = np.concatenate([inside, self.eos]) if state in self._ends else inside
        return self._allowed[state]

    def _walk(self, state: int, text: str) -> int | None:
        for character in text:
            following = self._edges[state].get(character)
            if following is None:
                return None
            state = following
        return state

    def _add_edge(self, state: int, character: str) -> int:
        following = self._edges[state].get(character)
        if following is None:
            following = len(self._edges)
            self._edges.append({})
            self._edges[state][character] = following
        return following

    def _count_to_whole(self) -> list[int]:
        """Return for each state the fewest characters, and so at most as many tokens, that finish the code begun in it."""
        counts = [0] * len(self._edges)
        for state in range(len(self._edges) - 1, self.START, -1):
            if state not in self._ends:
                counts[state] = 1 + min(counts[following] for following in self._edges[state].values())
        return counts

    def _add_separator(self) -> None:
        state = len(self._edges)
        self._to_whole += [0] * (len(SEPARATOR) - 1)
        self._edges.append({})
        for end in self._ends:
            self._edges[end][SEPARATOR[0]] = state
        for character in SEPARATOR[1:-1]:
            state = self._add_edge(state, character)
        self._edges[state][SEPARATOR[-1]] = self.START


def read_token_texts(tokenizer: Any) -> list[str]:
    """Return the text of every token of a Hugging Face tokenizer by id; empty for special tokens, which have none."""
    special = set(tokenizer.all_special_ids)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return ["" if i in special or token is None else token.translate(_SPACE_MARKS) for i, token in enumerate(tokens)]


_SPACE_MARKS = str.maketrans({"Ġ": " ", "▁": " "})


def _build_trie(codes: Iterable[str]) -> Trie:
    root: Trie = {}
    for code in codes:
        node = root
        for character in code:
            node = node.setdefault(character, {})
        node[_END] = {}
    return root


def _write_regex(node: Trie) -> str:
    heads_by_rest: dict[str, list[str]] = {}
    for character, below in sorted(node.items()):
        if character != _END:
            heads_by_rest.setdefault(_write_regex(below), []).append(character)
    branches = [_write_class(heads) + rest for rest, heads in heads_by_rest.items()]
    if not branches:
        return ""
    if len(branches) == 1 and _END not in node:
        return branches[0]
    return f"({'|'.join(branches)})" + ("?" if _END in node else "")


def _write_class(characters: list[str]) -> str:
    """Return a class that matches one of `characters`, runs of three or more written as ranges."""
    if len(characters) == 1:
        return re.escape(characters[0])
    runs: list[list[str]] = []
    for character in characters:
        if runs and ord(character) == ord(runs[-1][-1]) + 1:
            runs[-1].append(character)
        else:
            runs.append([character])
    return f"[{''.join(f'{run[0]}-{run[-1]}' if len(run) > 2 else ''.join(run) for run in runs)}]"
