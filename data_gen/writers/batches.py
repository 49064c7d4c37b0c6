"""The Batch API: submit everything open, leave, come back with the same command, collect.

A batch is written down before it is created and carries its label in its metadata, so a run that is killed between the
two finds it again on the server instead of submitting (and paying) a second time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from data_gen.writers.budget import BudgetError, describe_budget
from data_gen.writers.client import build_options, keep_answer, shorten
from data_gen.writers.recovery import recover_lost
from data_gen.writers.store import Store
from data_gen.writers.tasks import Request, Tasks
from icd10cm.errors import EngineError

if TYPE_CHECKING:
    import openai

_LABEL = "icdtune_batch"
_MOST_REQUESTS, _MOST_BYTES = 50_000, 150_000_000
_ENDED = ("completed", "expired", "cancelled", "failed")


class BatchState(NamedTuple):
    """Where the batches stand.

    Attributes:
        lines: one per batch that is still open, for a person to read.
        budget: what keeps the rest from being submitted, None when all of it is.
    """

    lines: tuple[str, ...]
    budget: BudgetError | None


def move_batches(tasks: Tasks, store: Store, max_cost_usd: float | None) -> BatchState:
    """Collect every batch that has ended and submit every request that is in none.

    Raises:
        BudgetError: no batch is open, and the next request could exceed `max_cost_usd`.
        EngineError: the server is gone, or refuses the key or the batch.
    """
    import openai

    recover_lost(_list_pending(tasks, store), store, tasks.settings)
    options = build_options(tasks.settings, openai.DefaultHttpxClient)
    try:
        with openai.OpenAI(**options) as client:
            _find_unsure(client, store)
            lines = list(_collect(client, tasks, store))
            under_way = _list_open(store)
            pending = [request for request in _list_pending(tasks, store) if request.key not in under_way]
            affordable = list(_take_affordable(tasks, store, pending, max_cost_usd))
            budget = None
            if max_cost_usd is not None and len(affordable) < len(pending):
                most = tasks.compute_cost([pending[len(affordable)]], batch=True)
                budget = BudgetError(describe_budget(store, most, max_cost_usd))
                if not affordable and not lines:
                    raise budget
            for part in _split(affordable):
                lines.append(_submit(client, tasks, store, part))
    except openai.APIStatusError as error:
        raise EngineError(f"{tasks.settings.base_url}: HTTP {error.status_code}: {shorten(error.message)}") from None
    except openai.APIError as error:
        raise EngineError(
            f"{tasks.settings.base_url}: {shorten(str(error.__cause__ or error))}; run the same command again to go on"
        ) from None
    return BatchState(tuple(lines), budget)


def _find_unsure(client: openai.OpenAI, store: Store) -> None:
    """Look on the server for batches that a killed run may or may not have created."""
    unsure = [label for label, batch in store.batches.items() if batch["state"] == "submitting"]
    if not unsure:
        return
    found = {(batch.metadata or {}).get(_LABEL): batch.id for batch in client.batches.list(limit=100)}
    for label in unsure:
        if label in found:
            store.add_batch(label, state="submitted", id=found[label])
        else:
            store.add_batch(label, state="failed")


def _collect(client: openai.OpenAI, tasks: Tasks, store: Store) -> Iterator[str]:
    """Keep the answers of every batch that has ended, and yield a line for each that has not."""
    requests: dict[str, Request] = {}
    for label, record in list(store.batches.items()):
        if record["state"] != "submitted":
            continue
        batch = client.batches.retrieve(record["id"])
        if batch.status not in _ENDED:
            counts = batch.request_counts
            done = f"{counts.completed:,} of {counts.total:,} done" if counts else "not counted yet"
            yield f"batch {batch.id}: {batch.status}, {done}"
            continue
        requests = requests or {request.key: request for request in _list_pending(tasks, store)}
        for file_id in filter(None, (batch.output_file_id, batch.error_file_id)):
            for line in client.files.content(file_id).iter_lines():
                _keep_line(line, record["most"], requests, tasks, store)
        store.sync()
        store.add_batch(label, state="collected", status=batch.status)
        if batch.status == "failed":
            problems = (
                "; ".join(error.message or "" for error in (batch.errors.data or [])) if batch.errors else "no reason given"
            )
            raise EngineError(f"{tasks.settings.base_url}: batch {batch.id} failed: {shorten(problems)}")


def _keep_line(line: str, most: dict[str, float], requests: dict[str, Request], tasks: Tasks, store: Store) -> None:
    """Keep one line of a batch's output; what is no answer is asked again, but for texts that the server will not take."""
    try:
        row = json.loads(line)
        key, response = row["custom_id"], row["response"] or {}
        status, body = response.get("status_code"), response.get("body")
    except (ValueError, KeyError, TypeError, AttributeError):
        return
    if key not in most:
        return
    if status == 200 and key in requests:
        keep_answer(store, requests[key], most[key], body, tasks.settings, batch=True, sync=False)
    elif status == 200 and key not in store:
        # of another plan or model that shares the store: paid for all the same
        store.add_answer(key, body, most[key], most[key], sync=False)
    elif status in (400, 413, 422):
        store.add_refused(key, most[key], f"HTTP {status}: {shorten(json.dumps(body))}")


def _list_pending(tasks: Tasks, store: Store) -> Iterator[Request]:
    for task in tasks:
        pending = tasks.follow(task, store).pending
        if pending is not None:
            yield pending


def _list_open(store: Store) -> set[str]:
    return {key for batch in store.batches.values() if batch["state"] == "submitted" for key in batch["most"]}


def _take_affordable(tasks: Tasks, store: Store, pending: Iterable[Request], max_cost_usd: float | None) -> Iterator[Request]:
    most = store.spent
    for request in pending:
        most += tasks.compute_cost([request], batch=True)
        if max_cost_usd is not None and most > max_cost_usd:
            return
        yield request


def _split(requests: list[Request]) -> Iterator[list[tuple[Request, str]]]:
    """Yield what fits into a batch: requests with their lines of its input file."""
    part: list[tuple[Request, str]] = []
    size = 0
    for request in requests:
        row: dict[str, Any] = {"custom_id": request.key, "method": "POST", "url": "/v1/chat/completions", "body": request.body}
        line = json.dumps(row, ensure_ascii=False) + "\n"
        if part and (len(part) == _MOST_REQUESTS or size + len(line.encode()) > _MOST_BYTES):
            yield part
            part, size = [], 0
        part.append((request, line))
        size += len(line.encode())
    if part:
        yield part


def _submit(client: openai.OpenAI, tasks: Tasks, store: Store, part: list[tuple[Request, str]]) -> str:
    """Create one batch and return a line on it."""
    import openai

    most = {request.key: tasks.compute_cost([request], batch=True) for request, _ in part}
    label = hashlib.sha256(f"{len(store.batches)} {' '.join(most)}".encode()).hexdigest()[:32]
    content = "".join(line for _, line in part).encode()
    file = client.files.create(file=(f"{label}.jsonl", content), purpose="batch")
    store.add_batch(label, state="submitting", most=most)
    try:
        batch = client.batches.create(
            input_file_id=file.id, endpoint="/v1/chat/completions", completion_window="24h", metadata={_LABEL: label}
        )
    except openai.APIStatusError as error:
        if error.status_code < 500:
            store.add_batch(label, state="failed")
        raise
    store.add_batch(label, state="submitted", id=batch.id)
    return f"batch {batch.id}: submitted, {len(part):,} requests"
