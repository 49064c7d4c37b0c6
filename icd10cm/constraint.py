"""The code set as a constraint on generation: an automaton over a tokenizer's tokens.

It accepts one code, or codes joined by `", "`, none of them twice, and nothing else. It is built once and needs nothing in the
request, so that it costs a server next to nothing. `icd10cm.code_regex` is the same for engines that take an expression.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from icd10cm.prompts import SEPARATOR

_ROOT = 0
_KEPT_ARRAYS = 2**15
_KEPT_WATCHES = 2**12


class State(NamedTuple):
    """What an answer holds so far; never changed, so that answers with the same beginning share it.

    Attributes:
        node: of the trie, where the code that is being written stands.
        codes: the codes before it, each as the node where it ends.
        ways: for each node, how many of `codes` go through it; empty where codes may be repeated.
        distinct: whether no code may be written twice.
    """

    node: int
    codes: frozenset[int] = frozenset()
    ways: Mapping[int, int] = MappingProxyType({})
    distinct: bool = True


class TokenAutomaton:
    """The tokens that keep an answer within the code set, whatever way a tokenizer cuts codes into pieces.

    Begins at `START`. Answers are different codes joined by `", "`, ended by an end-of-sequence token, which is allowed only
    after a complete code. No answer holds a code twice: neither a code that was written can end again, nor can one begin of
    which every way to go on was written. From `REPEATING` on codes may come again: a model that would say a code twice is then
    not led to another one, which it does not mean, and whoever reads the answer drops what is repeated.

    Attributes:
        eos: the ids that end an answer, an int64 array.
    """

    START = State(_ROOT)
    REPEATING = State(_ROOT, distinct=False)

    def __init__(self, codes: Iterable[str], token_texts: Sequence[str], eos_ids: Iterable[int], lists: bool = True):
        """Build the automaton.

        Args:
            codes: dotted codes.
            token_texts: text of each token by id (see `read_token_texts`).
            eos_ids: ids that end an answer.
            lists: whether more than one code may be written.
        """
        self._edges: list[dict[str, int]] = [{}]
        self._parents = [_ROOT]
        self._n_below = [0]
        ends: set[int] = set()
        for code in codes:
            node = _ROOT
            for character in code:
                node = self._add_edge(node, character)
            if node not in ends:
                ends.add(node)
                for passed in (_ROOT, *self._trace(node)):
                    self._n_below[passed] += 1
        self._ends = frozenset(ends)
        self._to_whole = self._count_to_whole()
        self._longest = max((sum(1 for _ in self._trace(end)) for end in ends), default=0)
        self._between = self._add_separator() if lists and ends else ()
        alphabet = {character for edges in self._edges for character in edges}
        self.eos = np.array(sorted(set(eos_ids)), dtype=np.int64)
        self._texts = token_texts
        useful = {token: text for token, text in enumerate(token_texts) if text and alphabet.issuperset(text)}
        self._most_ended = max((text.count(SEPARATOR[0]) for text in useful.values()), default=0)
        self._spellings = _build_spellings(useful)
        # what a separator begins is the same after every code
        begun = self._spellings.below.pop(SEPARATOR[0], None)
        after_code = self._list_moves(self._between[1], begun) if begun and self._between else []
        self._separating = np.array([token for token, _ in after_code], dtype=np.int64)
        self._only_separating = np.array([token for token, move in after_code if not move.n_begun], dtype=np.int64)
        self._watch_after_code = self._build_watch(after_code, after_code=True)
        self._fewest_after_code = min((self._count_fewest(move, move.ended) for _, move in after_code), default=len(ends))
        self._find_allowed = functools.lru_cache(_KEPT_ARRAYS)(self._list_allowed)
        self._find_fitting = functools.lru_cache(_KEPT_ARRAYS)(self._list_fitting)
        self._find_watch = functools.lru_cache(_KEPT_WATCHES)(lambda node: self._build_watch(self._list_moves(node)))

    def step(self, state: State, token: int) -> State | None:
        """Return the state after `token`, None when the answer has left the code set, repeats a code or has ended."""
        text = self._texts[token] if 0 <= token < len(self._texts) else ""
        following = self._edges[state.node].get(text)  # a token of one character, as most are
        if following is not None and text != SEPARATOR[0]:
            return None if state.ways.get(following) == self._n_below[following] else state._replace(node=following)
        move = self._walk(state.node, text) if text else None
        return move and self._take(state, move)

    def allowed(self, state: State, budget: int | None = None) -> np.ndarray:
        """Return the token ids allowed next, an int64 array not to be changed; most are kept from the first time on.

        Args:
            state: what was written so far.
            budget: tokens that may still be written, this one included. No limit cuts a code in two: of a first code, only
                tokens are allowed from which one can still be finished; a further code begins only where the longest one has
                room, so that an answer that had more to say ends in a separator, which tells that it was cut.
        """
        if budget is None or budget > self._longest:
            tokens, fewest = self._find_allowed(state.node, state.distinct)
        else:
            tokens, fewest = self._find_fitting(state.node, None if state.codes else budget, state.distinct)
        if state.codes and state.distinct and (state.node in state.ways or len(state.codes) >= fewest):
            tokens = _leave_out(tokens, self._find_repeats(state))
        # where a tokenizer has no token to go on with, the answer ends
        return tokens if len(tokens) else self.eos

    def _list_allowed(self, node: int, distinct: bool) -> _Choice:
        return self._choose(node, self._list_moves(node), self._separating, distinct)

    def _list_fitting(self, node: int, budget: int | None, distinct: bool) -> _Choice:
        """Return what fits into `budget` for the first code; None for a further one, which fits where it was begun."""
        n_begun = 1 if node == _ROOT and budget is not None else 0
        fitting = [
            (token, move)
            for token, move in self._list_moves(node)
            if move.n_begun <= n_begun and (budget is None or self._to_whole[move.node] < budget)
        ]
        return self._choose(node, fitting, self._only_separating, distinct)

    def _choose(self, node: int, moves: list[tuple[int, _Move]], separating: np.ndarray, distinct: bool) -> _Choice:
        # in order, so that sums over what is allowed are the same to the bit in every process
        inside = np.array(sorted(token for token, _ in moves), dtype=np.int64)
        fewest = min((self._count_fewest(move, move.ended[1:]) for _, move in moves if move.ended), default=len(self._ends))
        if node not in self._ends:
            return _Choice(inside, fewest)
        if distinct and self._fewest_after_code == 0:
            repeats = self._list_repeats(State(node), self._watch_after_code, self._count_way({}, node))
            separating = _leave_out(separating, repeats)
        tokens = np.concatenate([np.sort(np.concatenate([inside, separating])), self.eos])
        return _Choice(tokens, min(fewest, self._fewest_after_code))

    def _count_fewest(self, move: _Move, ended: tuple[int, ...]) -> int:
        """Return how many codes must have been written before a token that ends another one can repeat one.

        Args:
            move: where the token leads.
            ended: the codes that it holds as a whole.
        """
        return 0 if ended else max(0, self._n_below[move.node] - self._most_ended)

    def _list_moves(self, start: int, spelling: _Spelling | None = None) -> list[tuple[int, _Move]]:
        """Return the tokens that lead on from `start`, those that begin with a separator left out, and where each leads.

        With `spelling`, of which `start` is the end, only what goes on from there.
        """
        found: list[tuple[int, _Move]] = [(token, _Move(start, (), 0)) for token in (spelling.tokens if spelling else ())]
        waiting: list[tuple[_Spelling, _Move]] = [(spelling or self._spellings, _Move(start, (), 0))]
        while waiting:
            spelling, (node, ended, n_begun) = waiting.pop()
            edges = self._edges[node]
            for character in spelling.below.keys() & edges.keys():
                longer = spelling.below[character]
                ends_code = (node,) if character == SEPARATOR[0] else ()
                move = _Move(edges[character], ended + ends_code, n_begun + (node == _ROOT))
                if longer.tokens and (not move.ended or self._take(State(start), move)):
                    found += [(token, move) for token in longer.tokens]
                waiting.append((longer, move))
        return found

    def _find_repeats(self, state: State) -> list[int]:
        """Return the tokens, allowed otherwise or not, that would repeat a code or leave nothing else to write."""
        repeats = self._list_repeats(state, self._find_watch(state.node), state.ways)
        if state.node in state.codes:
            return [*repeats, *self._separating.tolist(), *self.eos.tolist()]
        if state.node in self._ends and len(state.codes) >= self._fewest_after_code:
            repeats += self._list_repeats(state, self._watch_after_code, state.ways)
        return repeats

    def _list_repeats(self, state: State, watch: _Watch, ways: Mapping[int, int]) -> list[int]:
        """Return which of the tokens that `watch` lists by nodes in `ways` do not lead on from `state`."""
        repeats = []
        for node in watch.within.keys() & ways.keys():
            if ways[node] == self._n_below[node]:
                repeats += watch.within[node]
        most = len(state.codes) + self._most_ended
        for node in watch.across.keys() & ways.keys():
            if node in self._ends or self._n_below[node] <= most:
                repeats += [token for token in watch.across[node] if self.step(state, token) is None]
        return repeats

    def _build_watch(self, moves: list[tuple[int, _Move]], after_code: bool = False) -> _Watch:
        watch = _Watch({}, {})
        for token, move in moves:
            place = _ROOT if move.node in self._between else move.node
            if not move.ended and not after_code:
                watch.within.setdefault(place, []).append(token)
            else:
                for telling in {*move.ended, place}:
                    watch.across.setdefault(telling, []).append(token)
        return watch

    def _take(self, state: State, move: _Move) -> State | None:
        codes, ways = state.codes, state.ways
        if not state.distinct:
            return state._replace(node=move.node, codes=codes.union(move.ended))
        for end in move.ended:
            if end in codes:
                return None
            codes, ways = codes | {end}, self._count_way(ways, end)
        return None if ways.get(move.node) == self._n_below[move.node] else State(move.node, codes, ways)

    def _walk(self, node: int, text: str) -> _Move | None:
        ended: tuple[int, ...] = ()
        n_begun = 0
        for character in text:
            following = self._edges[node].get(character)
            if following is None:
                return None
            if node == _ROOT:
                n_begun += 1
            elif character == SEPARATOR[0]:
                ended += (node,)
            node = following
        return _Move(node, ended, n_begun)

    def _trace(self, node: int) -> Iterator[int]:
        """Yield the nodes from `node` up to the root, the root not included."""
        while node != _ROOT:
            yield node
            node = self._parents[node]

    def _count_way(self, ways: Mapping[int, int], end: int) -> dict[int, int]:
        more = dict(ways)
        for node in (*self._between, *self._trace(end)):
            more[node] = more.get(node, 0) + 1
        return more

    def _add_edge(self, node: int, character: str) -> int:
        following = self._edges[node].get(character)
        if following is None:
            following = self._add_node(node)
            self._edges[node][character] = following
        return following

    def _add_node(self, parent: int) -> int:
        self._edges.append({})
        self._parents.append(parent)
        self._n_below.append(0)
        return len(self._edges) - 1

    def _count_to_whole(self) -> list[int]:
        """Return for each node the fewest characters, and so at most as many tokens, that finish the code begun in it."""
        counts = [0] * len(self._edges)
        for node in range(len(self._edges) - 1, _ROOT, -1):
            if node not in self._ends:
                counts[node] = 1 + min(counts[following] for following in self._edges[node].values())
        return counts

    def _add_separator(self) -> tuple[int, ...]:
        """Let a code follow each code; returns the nodes between two, the root included, below all of which lie all codes."""
        node = self._add_node(_ROOT)
        between = [_ROOT, node]
        for end in self._ends:
            self._edges[end][SEPARATOR[0]] = node
        for character in SEPARATOR[1:-1]:
            node = self._add_edge(node, character)
            between.append(node)
        self._edges[node][SEPARATOR[-1]] = _ROOT
        for node in between:
            self._n_below[node] = self._n_below[_ROOT]
        self._to_whole += [0] * (len(between) - 1)
        return tuple(between)


class _Move(NamedTuple):
    """Where a token leads: the node, the codes that a separator ends in it, and how many codes it begins."""

    node: int
    ended: tuple[int, ...]
    n_begun: int


class _Spelling(NamedTuple):
    """A node of the trie of tokens: those spelled so far, and the nodes that go on, by the next character."""

    tokens: list[int]
    below: dict[str, _Spelling]


class _Choice(NamedTuple):
    """Tokens, and how many codes must have been written before one that reaches into a further code can repeat one."""

    tokens: np.ndarray
    fewest: int


class _Watch(NamedTuple):
    """Tokens by the nodes that tell whether they repeat a code.

    Attributes:
        within: those that stay within a code, by where they lead.
        across: those that end a code, by each that they end and by where they lead, the root for all places between two codes.
    """

    within: dict[int, list[int]]
    across: dict[int, list[int]]


def _build_spellings(texts: Mapping[int, str]) -> _Spelling:
    root = _Spelling([], {})
    for token, text in texts.items():
        node = root
        for character in text:
            node = node.below.setdefault(character, _Spelling([], {}))
        node.tokens.append(token)
    return root


def _leave_out(tokens: np.ndarray, some: list[int]) -> np.ndarray:
    return tokens[np.isin(tokens, some, invert=True)] if some else tokens


def read_token_texts(tokenizer: Any) -> list[str]:
    """Return the text of every token of a Hugging Face tokenizer by id; empty for special tokens, which have none."""
    special = set(tokenizer.all_special_ids)
    tokens = tokenizer.convert_ids_to_tokens(range(len(tokenizer)))
    return ["" if i in special or token is None else token.translate(_SPACE_MARKS) for i, token in enumerate(tokens)]


_SPACE_MARKS = str.maketrans({"Ġ": " ", "▁": " "})
