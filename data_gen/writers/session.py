"""A data set's texts from a language model: what it would cost, the asking itself, and what came of it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_gen.examples import Example
from data_gen.folding import fold_text
from data_gen.plan import Plan
from data_gen.writers.batches import move_batches
from data_gen.writers.client import check_key
from data_gen.writers.online import write_online
from data_gen.writers.prompts import WRITER_PROMPT_VERSION
from data_gen.writers.recovery import build_sent_body
from data_gen.writers.rivals import Rivals
from data_gen.writers.settings import Backend
from data_gen.writers.store import Store, open_store, read_store
from data_gen.writers.tasks import Request, Task, Tasks
from icd10cm.codeset import CodeSet
from icd10cm.entry import say
from icd10cm.errors import DataError
from icd10cm.run_header import write_text

REJECTED_FILE = "rejected.jsonl"
TRY_LATER = 75
"""Exit status of a run that waits for its batches (EX_TEMPFAIL of sysexits.h)."""


@contextmanager
def open_session(
    codeset: CodeSet, codes: Sequence[str], plan: Plan, backend: Backend, output_dir: Path, read_only: bool
) -> Iterator[tuple[Tasks, Store]]:
    """Open what a plan asks of a language model and the store of its answers.

    Raises:
        ConfigError: no API key for an address that is not this machine; not when only reading.
        DataError: the store is broken, for another model or release, or another process writes to it.
    """
    assert backend.writer is not None, "checked with the settings"
    if not read_only:
        check_key(backend.writer)
    tasks = Tasks(codeset, codes, plan, backend.writer)
    folder = backend.writer.store or output_dir.with_name(f"{output_dir.name}_answers")
    with read_store(folder) if read_only else open_store(folder) as store:
        store.check_about(model=backend.writer.model, release=codeset.release)
        yield tasks, store


class LLMWriter:
    """Proposes the texts that a store holds, as `data_gen.writing.Propose` asks for.

    Args:
        tasks: what was asked.
        store: what was answered; it stays open while this is used.
    """

    def __init__(self, tasks: Tasks, store: Store):
        self._tasks, self._store = tasks, store
        self._source = f"llm:{tasks.settings.model}"

    def __call__(self, variation: str, code: str, title: str, rng: random.Random) -> Iterator[tuple[str, str]]:
        """Yield (text, source), in the order in which the model wrote."""
        task = self._tasks.build_task(variation, code)
        for text in self._tasks.follow(task, self._store).texts:
            yield text, self._source


def fill_store(tasks: Tasks, store: Store, max_cost_usd: float | None, batch: bool) -> int:
    """Ask for what the store lacks, and return 0 when it is complete or `TRY_LATER` when batches are still under way.

    Raises:
        DataError: batches are under way, and this is no run for them.
        BudgetError: the next request could exceed `max_cost_usd`.
        EngineError: the server is gone, or some requests were not answered.
    """
    if not batch:
        if store.open_batches:
            raise DataError(
                f"{store.folder}: {len(store.open_batches):,} batches are under way and paid for; "
                "run the same command with --batch until they are collected"
            )
        write_online(tasks, store, max_cost_usd)
        return 0
    state = move_batches(tasks, store, max_cost_usd)
    if not state.lines:
        return 0
    for line in state.lines:
        say(line)
    if state.budget:
        say(f"warning: not all is submitted: {state.budget}")
    say("run the same command again to collect; no data set is written before all is collected")
    return TRY_LATER


@contextmanager
def keep_rejected(tasks: Tasks, store: Store) -> Iterator[list[Example]]:
    """Take the rows of the data set, as far as it gets, and write `rejected.jsonl` beside the answers however a run ends.

    It holds each answer that could not be read and each text that is no row, and why. Texts beyond those wanted are no rejects.
    """
    rows: list[Example] = []
    try:
        yield rows
    finally:
        rejected = list(list_rejected(tasks, store, rows))
        write_text(store.folder / REJECTED_FILE, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rejected))
        if rejected:
            common = Counter(row["reason"] for row in rejected).most_common(3)
            reasons = "; ".join(f"{number:,} {reason}" for reason, number in common)
            say(f"{len(rejected):,} answers and texts rejected ({reasons}): {store.folder / REJECTED_FILE}")


def list_rejected(tasks: Tasks, store: Store, rows: Iterable[Example] = ()) -> Iterator[dict[str, Any]]:
    """Yield what a store holds and a data set does not; by comparison with its rows also what it has of other texts already."""
    rivals = Rivals(rows)
    passed: list[tuple[dict[str, Any], str]] = []
    source, checks = f"llm:{tasks.settings.model}", tasks.build_checks()
    for task in tasks:
        for request, reading in tasks.follow(task, store).read:
            about: dict[str, Any] = {"variation": task.variation, "code": task.code, "title": task.title, "key": request.key}
            about["attempt"] = request.attempt
            if reading.reason:
                yield about | {"reason": reading.reason, "content": reading.content}
            for text in reading.texts:
                fault = checks.find_fault(task.variation, text, fold_text(text), task.code, source)
                if fault:
                    yield about | {"reason": f"text {fault}", "content": text}
                elif rows:
                    rivals.add(task.code, text)
                    passed.append((about, text))
    for about, text in passed:
        fault = rivals.find_fault(about["variation"], about["code"], text)
        if fault:
            yield about | {"reason": f"text {fault}", "content": text}


def describe_store(tasks: Tasks, store: Store) -> dict[str, Any]:
    """Return what `run.json` says of the model's part."""
    return {
        "writer_prompt_version": WRITER_PROMPT_VERSION,
        "store": str(store.folder),
        "answers": len(store),
        "cost_usd": round(store.spent, 6),
        "requests_lost": store.n_lost,
    }


def show_cost(tasks: Tasks, store: Store, max_cost_usd: float | None, batch: bool) -> None:
    """Print what a run would ask, its price, and one request as it would be sent."""
    settings = tasks.settings
    pending: list[Request] = []
    n_cached: Counter[str] = Counter()
    expected = 0
    first: Request | None = None
    for task in tasks:
        request = tasks.follow(task, store).pending
        n_cached[task.variation] += request is None
        if request is not None:
            first = first or request
            # only the numbers are kept: the bodies of a full release take a gigabyte
            pending.append(request._replace(key="", body={}))
            expected += estimate_output(task)
    n_input, n_most = sum(r.input_tokens for r in pending), sum(r.max_tokens for r in pending)
    print(f"{settings.model} at {settings.base_url}: {len(tasks):,} requests, {n_cached.total():,} of them answered already")
    for variation in tasks.variations:
        n_all = len(tasks) // len(tasks.variations)
        print(f"  {variation:12}{n_all - n_cached[variation]:>9,} to ask{n_cached[variation]:>9,} answered")
    print(f"tokens (estimated): input {n_input:,}, output about {expected:,}, at most {n_most:,}")
    prices = settings.prices
    if prices is None:
        print("price: none given (`writer.prices`); the server is this machine")
    else:
        about = tasks.compute_cost([r._replace(max_tokens=0) for r in pending], batch)
        about += expected * prices.output_per_million_usd / 1e6 * ((1 - prices.batch_discount) if batch else 1)
        discount = f", batch discount {prices.batch_discount:.0%}" if batch else ""
        print(
            f"price (estimated): about ${about:,.4f}, at most ${tasks.compute_cost(pending, batch):,.4f}; "
            f"by the prices of {prices.as_of}: ${prices.input_per_million_usd:g} in, "
            f"${prices.output_per_million_usd:g} out per million tokens{discount}; "
            f"an answer that cannot be read is asked for again, up to {settings.attempts} times in all"
        )
        limit = "none" if max_cost_usd is None else f"${max_cost_usd:,.2f} over all runs"
        print(f"spent so far: ${store.spent:,.4f}; limit (`max_cost_usd`): {limit}")
    if first is not None:
        print("first request:", json.dumps(build_sent_body(first, settings), ensure_ascii=False, indent=2), sep="\n")


def estimate_output(task: Task) -> int:
    """Return about how many tokens an answer has: so many texts as long as the title, and their quotation marks."""
    return 8 + task.n_texts * (4 + len(task.title.encode()) // 3)
