"""A data set's texts from a language model: what it would cost, the asking itself, and what came of it."""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_gen.checks import RowChecks
from data_gen.folding import fold_text
from data_gen.plan import Plan
from data_gen.writers.batches import move_batches
from data_gen.writers.client import check_key
from data_gen.writers.online import write_online
from data_gen.writers.prompts import WRITER_PROMPT_VERSION
from data_gen.writers.settings import Backend
from data_gen.writers.store import Store, open_store, read_store
from data_gen.writers.tasks import Request, Task, Tasks
from icd10cm.codeset import CodeSet
from icd10cm.entry import say
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
        DataError: the store is broken, or another process writes to it.
    """
    assert backend.writer is not None, "checked with the settings"
    folder = backend.writer.store or output_dir.with_name(f"{output_dir.name}_answers")
    with read_store(folder) if read_only else open_store(folder) as store:
        yield Tasks(codeset, codes, plan, backend.writer), store


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
        ConfigError: no API key for an address that is not this machine.
        BudgetError: the next request could exceed `max_cost_usd`.
        EngineError: the server is gone, or some requests were not answered.
    """
    check_key(tasks.settings)
    try:
        if batch:
            state = move_batches(tasks, store, max_cost_usd)
            if state.lines:
                for line in state.lines:
                    say(line)
                if state.budget:
                    say(f"warning: not all is submitted: {state.budget}")
                say("run the same command again to collect; no data set is written before all is collected")
                return TRY_LATER
        else:
            write_online(tasks, store, max_cost_usd)
    finally:
        write_rejected(tasks, store)
    return 0


def write_rejected(tasks: Tasks, store: Store) -> None:
    """Write `rejected.jsonl` beside the answers: each answer that could not be read and each text that is no row, and why."""
    checks = tasks.build_checks()
    reasons: Counter[str] = Counter()
    lines = []
    for row in list_rejected(tasks, store, checks):
        reasons[row["reason"]] += 1
        lines.append(json.dumps(row, ensure_ascii=False) + "\n")
    write_text(store.folder / REJECTED_FILE, "".join(lines))
    if reasons:
        common = "; ".join(f"{number:,} {reason}" for reason, number in reasons.most_common(3))
        say(f"{reasons.total():,} answers and texts rejected ({common}): {store.folder / REJECTED_FILE}")


def list_rejected(tasks: Tasks, store: Store, checks: RowChecks) -> Iterator[dict[str, Any]]:
    """Yield what a store holds and a data set will not."""
    for task in tasks:
        for request, reading in tasks.follow(task, store).read:
            about = {"variation": task.variation, "code": task.code, "title": task.title, "key": request.key}
            if reading.reason:
                yield about | {"reason": reading.reason, "attempt": request.attempt, "content": reading.content}
            for text in reading.texts:
                fault = checks.find_fault(task.variation, text, fold_text(text), task.code, f"llm:{tasks.settings.model}")
                if fault:
                    yield about | {"reason": f"text {fault}", "attempt": request.attempt, "content": text}


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
            f"price: about ${about:,.4f}, at most ${tasks.compute_cost(pending, batch):,.4f}; by the prices of {prices.as_of}: "
            f"${prices.input_per_million_usd:g} in, ${prices.output_per_million_usd:g} out per million tokens{discount}; "
            f"an answer that cannot be read is asked for again, up to {settings.attempts} times in all"
        )
        limit = "none" if max_cost_usd is None else f"${max_cost_usd:,.2f} over all runs"
        print(f"spent so far: ${store.spent:,.4f}; limit (`max_cost_usd`): {limit}")
    if first is not None:
        print("first request:", json.dumps(first.body, ensure_ascii=False, indent=2), sep="\n")


def estimate_output(task: Task) -> int:
    """Return about how many tokens an answer has: so many texts as long as the title, and their quotation marks."""
    return 8 + task.n_texts * (4 + len(task.title.encode()) // 3)
