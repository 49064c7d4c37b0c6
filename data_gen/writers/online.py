"""Ask for the texts of every task now, many requests at a time; stop with everything paid for on the disk."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections import Counter, deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from data_gen.writers.budget import BudgetError, describe_budget
from data_gen.writers.client import build_options, explain_status, is_passing, keep_answer, read_json, shorten
from data_gen.writers.pace import Pace, choose_wait
from data_gen.writers.recovery import Outcome, Recovery, build_sent_body
from data_gen.writers.store import Store
from data_gen.writers.tasks import Progress, Request, Task, Tasks
from icd10cm.errors import EngineError

if TYPE_CHECKING:
    import openai

_GIVEN_UP = (504, 524)
"""Something between us and the model waited no longer; the model may go on, and be paid for, as after a timeout of ours."""
_MOST_FAILURES = 20
_MOST_REFUSED_FIRST = 5
_NO_MONEY = 1e-12


def write_online(tasks: Tasks, store: Store, max_cost_usd: float | None) -> None:
    """Ask until every task is done.

    Raises:
        BudgetError: the next request could exceed `max_cost_usd`, counting what is under way.
        EngineError: the server is gone or refuses the key or the model, or some requests were not answered.
        KeyboardInterrupt: Ctrl-C or SIGTERM; what was under way has been waited for.
    """
    asyncio.run(_Run(tasks, store, max_cost_usd).run())


class _Run:
    def __init__(self, tasks: Tasks, store: Store, max_cost_usd: float | None):
        settings = tasks.settings
        self._tasks, self._store, self._settings, self._max_cost = tasks, store, settings, max_cost_usd
        self._pace = Pace(settings.requests_per_minute, settings.tokens_per_minute)
        self._workers: list[asyncio.Task[None]] = []
        self._later: deque[Task] = deque()
        self._sending: set[asyncio.Task[Any] | None] = set()
        self._looking: set[asyncio.Task[Any] | None] = set()
        self._settled = asyncio.Event()
        self._stop: BaseException | None = None
        self._counts: Counter[str] = Counter()
        self._unanswered: Counter[str] = Counter()
        self._failures_in_a_row = self._refused_first = 0

    async def run(self) -> None:
        import openai

        self._bar = tqdm(total=len(self._tasks), desc="llm texts", unit="task", mininterval=0.5)
        with self._bar, self._catch_signals():
            async with openai.AsyncOpenAI(**build_options(self._settings, openai.DefaultAsyncHttpxClient)) as client:
                self._recovery = Recovery(client, self._store, self._settings)
                waiting = iter(self._tasks)
                self._workers = [asyncio.create_task(self._work(client, waiting)) for _ in range(self._settings.concurrency)]
                ends = await asyncio.gather(*self._workers, return_exceptions=True)
            self._show()
        for end in ends:
            if isinstance(end, Exception):
                raise end
        if self._stop is not None:
            raise self._stop
        if self._unanswered:
            reasons = "; ".join(f"{number:,} times {reason}" for reason, number in self._unanswered.most_common(3))
            raise EngineError(
                f"{self._settings.base_url}: {self._unanswered.total():,} of {len(self._tasks):,} tasks were not answered "
                f"({reasons}); the others are kept, run the same command again to go on"
            )

    async def _work(self, client: openai.AsyncOpenAI, waiting: Iterator[Task]) -> None:
        for task in waiting:
            progress = self._tasks.follow(task, self._store)
            if progress.pending is not None and await self._recover(progress.pending, wait=False) == "running":
                self._later.append(task)
                continue
            await self._finish(client, task, progress)
        while self._later:
            task = self._later.popleft()
            await self._finish(client, task, self._tasks.follow(task, self._store))

    async def _finish(self, client: openai.AsyncOpenAI, task: Task, progress: Progress) -> None:
        """Ask for a task until it is done."""
        self._counts["cached" if progress.pending is None else "asked"] += 1
        if progress.pending is None and self._counts["cached"] % 100 == 0:
            await asyncio.sleep(0)
        while progress.pending is not None:
            reason = await self._ask(client, progress.pending)
            if self._stop is not None:
                raise asyncio.CancelledError
            if reason:
                self._unanswered[reason] += 1
                break
            progress = self._tasks.follow(task, self._store)
            self._counts["rejected"] += not progress.texts
        self._counts["done"] += bool(progress.texts)
        self._bar.update()
        self._show(refresh=False)

    async def _ask(self, client: openai.AsyncOpenAI, request: Request) -> str:
        """Ask until the answer or the refusal is kept, and return nothing; or return why there is none."""
        if request.key in self._store or await self._recover(request) == "kept":
            return ""
        tokens, most = request.input_tokens + request.max_tokens, self._compute_most(request)
        reason = ""
        for attempt in range(self._settings.retries + 1):
            await self._pace.wait(tokens)
            try:
                await self._reserve(most)
                reason, told = await self._send(client, request, most)
            finally:
                self._pace.end(tokens)
            if not reason:
                return ""
            if self._stop is not None or told is False:
                break
            if await self._recover(request) == "kept":
                return ""
            if attempt < self._settings.retries:
                await asyncio.sleep(choose_wait(attempt, told))
        self._failures_in_a_row += 1
        if self._failures_in_a_row >= min(_MOST_FAILURES, len(self._tasks)):
            self._end(
                EngineError(f"{self._settings.base_url}: stopped answering ({reason}); run the same command again to go on")
            )
        return reason

    async def _send(self, client: openai.AsyncOpenAI, request: Request, most: float) -> tuple[str, float | bool | None]:
        """Send a request once. Return why it is not settled, and when to try again: in seconds, None: unsaid, False: never."""
        import httpx
        import openai

        worker = asyncio.current_task()
        self._store.add_sent(request.key, most)
        self._sending.add(worker)
        try:
            # the client's own time limit is between two bytes; a server that drips would never reach it
            async with asyncio.timeout(self._settings.timeout):
                body = build_sent_body(request, self._settings)
                response = await client.post("/chat/completions", body=body, cast_to=httpx.Response)
            self._pace.learn(response.headers)
            self._keep(request, most, response.content)
        except openai.APIStatusError as error:
            if error.status_code in _GIVEN_UP:
                return f"HTTP {error.status_code}: {shorten(error.message)}", None
            return self._refuse(request, most, error)
        except (openai.APITimeoutError, TimeoutError):
            return f"no answer within {self._settings.timeout:g} s", None
        except openai.APIConnectionError as error:
            if isinstance(error.__cause__, httpx.ConnectError):
                self._store.add_refused(request.key, most)
            return f"connection lost: {shorten(str(error.__cause__ or error))}", None
        finally:
            self._sending.discard(worker)
            self._note_settled()
        return "", None

    async def _recover(self, request: Request, wait: bool = True) -> Outcome:
        worker = asyncio.current_task()
        self._looking.add(worker)
        try:
            outcome = await self._recovery.recover(request, wait)
        except EngineError as error:
            self._end(error)
            raise asyncio.CancelledError from None
        finally:
            self._looking.discard(worker)
            self._note_settled()
        self._counts["recovered"] += outcome == "kept"
        return outcome

    def _note_settled(self) -> None:
        self._settled.set()
        self._settled = asyncio.Event()

    def _keep(self, request: Request, most: float, content: bytes) -> None:
        keep_answer(self._store, request, most, read_json(content), self._settings)
        self._failures_in_a_row = 0

    def _refuse(self, request: Request, most: float, error: openai.APIStatusError) -> tuple[str, float | bool | None]:
        told = self._pace.learn(error.response.headers)
        status, reason = error.status_code, f"HTTP {error.status_code}: {shorten(error.message)}"
        passing = is_passing(error)
        # before anything was answered, a refusal is the configuration's fault; later it is this text's, as of a content filter
        final = not passing and status in (400, 413, 422) and len(self._store) > 0
        self._store.add_refused(request.key, most, reason if final else "")
        if passing or final:
            return ("" if final else reason), told
        self._refused_first += 1
        if status not in (400, 413, 422) or self._refused_first >= min(_MOST_REFUSED_FIRST, len(self._tasks)):
            self._end(EngineError(f"{self._settings.base_url}: {reason}; {explain_status(status)}"))
        return reason, False

    async def _reserve(self, most: float) -> None:
        """Return when a request that can cost `most` may be sent. What is under way counts with the most it can cost."""
        while self._max_cost is not None and self._store.spent + most > self._max_cost + _NO_MONEY:
            if not self._sending | self._looking:
                self._end(BudgetError(describe_budget(self._store, most, self._max_cost)))
                raise asyncio.CancelledError
            await self._settled.wait()

    def _compute_most(self, request: Request) -> float:
        return self._tasks.compute_cost([request], batch=False)

    def _end(self, reason: BaseException) -> None:
        """Send nothing more; what is under way is waited for and kept."""
        self._stop = self._stop or reason
        for worker in self._workers:
            if worker not in self._sending:
                worker.cancel()

    @contextlib.contextmanager
    def _catch_signals(self) -> Iterator[None]:
        """Wait for what is under way at the first Ctrl-C or SIGTERM, for nothing at the second."""

        def stop() -> None:
            if isinstance(self._stop, KeyboardInterrupt):
                for worker in self._workers:
                    worker.cancel()
            self._end(KeyboardInterrupt())

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            for number in (signal.SIGINT, signal.SIGTERM):
                loop.remove_signal_handler(number)

    def _show(self, refresh: bool = True) -> None:
        shown = {name: f"{self._counts[name]:,}" for name in ("done", "cached", "recovered", "rejected")}
        self._bar.set_postfix(shown | {"spent": f"${self._store.spent:.4f}"}, refresh=refresh)
