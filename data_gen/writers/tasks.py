"""What to ask, and how far the stored answers have got: one task per variation and code, one request per attempt."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from data_gen.checks import RowChecks
from data_gen.holding_out import choose_unseen
from data_gen.plan import Plan
from data_gen.prior import Allotment
from data_gen.variations import VARIATIONS
from data_gen.words import read_words_of
from data_gen.writers.price import compute_cost, estimate_tokens
from data_gen.writers.prompts import PROMPTS, WRITER_PROMPT_VERSION, build_format, build_messages
from data_gen.writers.reading import Reading, read_body
from data_gen.writers.settings import WriterSettings
from data_gen.writers.store import Store
from icd10cm.codeset import CodeSet
from icd10cm.tabular import Tabular


class Task(NamedTuple):
    """Texts of one variation wanted for one code."""

    variation: str
    code: str
    title: str
    n_texts: int
    terms: tuple[str, ...]


class Request(NamedTuple):
    """One request as it is sent.

    Attributes:
        key: sha256 of all that follows, the prompt version and the attempt; the address and the speed are not in it.
        body: JSON body of `/v1/chat/completions`.
        input_tokens: estimate, rather too many.
        max_tokens: most output tokens.
    """

    key: str
    task: Task
    attempt: int
    body: dict[str, Any]
    input_tokens: int
    max_tokens: int


class Progress(NamedTuple):
    """How far a task is.

    Attributes:
        read: requests that were answered or refused for good, and what came of each; only the last can have texts.
        pending: the request to send next; None when the task is done or has no attempts left.
    """

    read: tuple[tuple[Request, Reading], ...]
    pending: Request | None

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts of the task, none while it has no answer that can be read."""
        return self.read[-1][1].texts if self.read else ()


class Tasks:
    """Every task of a plan.

    Args:
        codeset: the release.
        codes: the codes of the slice.
        plan: how many texts of which variation.
        settings: model, format and attempts.
    """

    def __init__(self, codeset: CodeSet, codes: Sequence[str], plan: Plan, settings: WriterSettings):
        self.settings = settings
        self.variations = tuple(name for name in VARIATIONS if name in PROMPTS and plan.count_variants(name))
        self._codeset, self._codes, self._plan = codeset, codes, plan
        self._tabular = Tabular.load(plan.tabular_file)
        self._terms = _collect_terms(codeset, self._tabular) if "paraphrased" in self.variations else {}
        self._examples = _read_examples(settings)
        self._words = read_words_of(plan)
        self._allotment = Allotment(codeset, codes, plan, choose_unseen(codes, plan))
        self._tokens_per_estimated = 1.0

    def __len__(self) -> int:
        return len(self.variations) * len(self._codes)

    def __iter__(self) -> Iterator[Task]:
        return (self.build_task(variation, code) for variation in self.variations for code in self._codes)

    def build_task(self, variation: str, code: str) -> Task:
        """Return what to ask for; the inclusion terms are for paraphrases only, which may use their words."""
        n_texts = self._allotment.count_all(code, variation) + self.settings.spare
        terms = self._terms.get(code, ()) if variation == "paraphrased" else ()
        return Task(variation, code, self._codeset.title(code), n_texts, terms)

    def build_checks(self) -> RowChecks:
        """Return the checks that every row of the data set passes."""
        return RowChecks(self._codeset, self._tabular, self._words.lexicon)

    def follow(self, task: Task, store: Store) -> Progress:
        """Return what the store holds of a task and what is to be asked next. The same store gives the same requests."""
        read: list[tuple[Request, Reading]] = []
        max_tokens = self.settings.max_tokens
        for attempt in range(1, self.settings.attempts + 1):
            request = self._build_request(task, attempt, max_tokens)
            if request.key in store.refused:
                read.append((request, Reading((), store.refused[request.key])))
                break
            answer = store.find(request.key)
            if answer is None:
                return Progress(tuple(read), request)
            self._learn(request, answer.get("input_tokens", 0))
            reading = read_body(answer["body"])
            read.append((request, reading))
            if reading.texts:
                break
            if reading.reason == "truncated":
                max_tokens *= 2
        return Progress(tuple(read), None)

    def compute_cost(self, requests: Iterable[Request], batch: bool) -> float:
        """Return the most that requests can cost in US dollars: every answer as long as it may be."""
        return sum(compute_cost(self.settings.prices, r.input_tokens, r.max_tokens, batch) for r in requests)

    def _learn(self, request: Request, input_tokens: int) -> None:
        """Raise later estimates where a tokenizer made more of a request than was estimated, so that no budget is exceeded."""
        self._tokens_per_estimated *= max(1.0, input_tokens / request.input_tokens)

    def _build_request(self, task: Task, attempt: int, max_tokens: int) -> Request:
        settings = self.settings
        body: dict[str, Any] = {
            "model": settings.model,
            "messages": build_messages(task.variation, task.title, task.n_texts, task.terms, self._examples),
            settings.max_tokens_key: max_tokens,
            **settings.extra_body,
        }
        if settings.temperature is not None:
            body["temperature"] = settings.temperature
        response_format = build_format(settings.structured)
        if response_format:
            body["response_format"] = response_format
        key = hash_request(body, attempt)
        return Request(key, task, attempt, body, math.ceil(estimate_tokens(body) * self._tokens_per_estimated), max_tokens)


def hash_request(body: Mapping[str, Any], attempt: int) -> str:
    """Return the key under which the answer to a request is kept."""
    whole = {"prompt_version": WRITER_PROMPT_VERSION, "attempt": attempt, "body": body}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def _collect_terms(codeset: CodeSet, tabular: Tabular) -> dict[str, tuple[str, ...]]:
    """Return code to its inclusion terms; none where the tabular list is of another release."""
    if tabular.release != codeset.release:
        return {}
    terms: dict[str, list[str]] = {}
    for note in tabular.all_notes():
        if note.kind == "inclusion_term":
            terms.setdefault(note.node, []).append(note.text)
    return {code: tuple(texts) for code, texts in terms.items()}


def _read_examples(settings: WriterSettings) -> tuple[str, ...]:
    if settings.examples_file is None:
        return ()
    text = settings.examples_file.read_text(encoding="utf-8", errors="replace")
    return tuple(line.strip() for line in text.splitlines() if line.strip())
