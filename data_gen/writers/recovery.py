"""Answers that were paid for and never arrived: found again at the provider instead of asked for a second time.

With `writer.recover` each request asks the provider to store the completion under the request's key (`store` and `metadata` of
OpenAI's chat completions). A request that was sent and neither answered nor refused, because this process was killed, timed
out or lost the connection, is then looked for in the list of stored completions before it is sent again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from data_gen.writers.client import API_KEY_VARIABLE, build_options, is_passing, keep_answer, read_json, shorten
from data_gen.writers.pace import choose_wait, read_retry_after
from data_gen.writers.settings import WriterSettings
from data_gen.writers.store import Sent, Store
from data_gen.writers.tasks import Request
from icd10cm.entry import say
from icd10cm.errors import EngineError

if TYPE_CHECKING:
    import openai

KEY_NAME = "icdtune_key"
_TIMEOUTS_TO_FINISH = 2
"""How many times `timeout` a provider may take to finish what it was sent: also what it goes on with when we hung up."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 15.0

Outcome = Literal["kept", "running", "absent"]
"""The answer is in the store; the provider may still be at work on it; the provider has none, so it is to be asked for."""


def build_sent_body(request: Request, settings: WriterSettings) -> dict[str, Any]:
    """Return the body of a request as it goes over the wire; the key by which its answer is found again is not hashed."""
    if not settings.recovers:
        return request.body
    return request.body | {"store": True, "metadata": {KEY_NAME: request.key}}


class Recovery:
    """Looks for lost answers.

    Args:
        client: of the server that was asked.
        store: knows what is lost, and keeps what is found.
        settings: whether to look at all, and how long a request may take.
    """

    def __init__(self, client: openai.AsyncOpenAI, store: Store, settings: WriterSettings):
        self._client, self._store, self._settings = client, store, settings
        self._possible = settings.recovers

    async def recover(self, request: Request, wait: bool = True) -> Outcome:
        """Look for the answer to a request if it is lost.

        Args:
            request: the request.
            wait: look again, with growing pauses, until the provider can no longer be at work on it; so never `running`.

        Raises:
            EngineError: the server does not let us look, or is gone.
        """
        sent = self._store.find_lost(request.key)
        if sent is None:
            return "absent"
        end = time.monotonic() + self._compute_rest(sent)
        pause = _FIRST_PAUSE
        while self._possible:
            # read before looking: what is not there afterwards never will be
            rest = end - time.monotonic()
            if await self._look(request, sent):
                return "kept"
            if rest <= 0 or not self._possible:
                break
            if not wait:
                return "running"
            await asyncio.sleep(min(pause, max(rest, 0.0)))
            pause = min(2 * pause, _LONGEST_PAUSE)
        return "absent"

    def _compute_rest(self, sent: Sent) -> float:
        """Return the seconds during which a request may still be running. A clock that was put back makes it no longer."""
        longest = _TIMEOUTS_TO_FINISH * self._settings.timeout
        return longest - min(max(0.0, time.time() - sent.at), longest)

    async def _look(self, request: Request, sent: Sent) -> bool:
        """Keep the answer to a request if the provider has it."""
        listed = read_json(await self._list(request.key))
        rows = listed.get("data") if isinstance(listed, dict) else None
        for row in rows if isinstance(rows, list) else ():
            # a server that does not know the filter lists the answers to other requests too
            if isinstance(row, dict) and isinstance(row.get("metadata"), dict) and row["metadata"].get(KEY_NAME) == request.key:
                keep_answer(self._store, request, sent.most, row, self._settings)
                return True
        return False

    async def _list(self, key: str) -> bytes:
        """Return what the server lists under a key, nothing where it keeps no answers."""
        import openai

        completions = self._client.chat.completions.with_raw_response
        for attempt in range(self._settings.retries + 1):
            told = None
            try:
                return (await completions.list(metadata={KEY_NAME: key})).content
            except openai.APIStatusError as error:
                reason = f"HTTP {error.status_code}: {shorten(error.message)}"
                if error.status_code in (401, 403):
                    raise EngineError(
                        f"{self._settings.base_url}: {reason}, when looking for answers already paid for; check that "
                        f"{API_KEY_VARIABLE} may read stored chat completions, or pay for them again by `writer.recover: false`"
                    ) from None
                if error.status_code == 501 or not is_passing(error):
                    self._give_up(reason)
                    return b""
                told = read_retry_after(error.response.headers)
            except openai.APIConnectionError as error:
                reason = f"connection lost: {shorten(str(error.__cause__ or error))}"
            if attempt < self._settings.retries:
                await asyncio.sleep(choose_wait(attempt, told))
        raise EngineError(
            f"{self._settings.base_url}: {reason}, when looking for answers already paid for; "
            "run the same command again to go on"
        )

    def _give_up(self, reason: str) -> None:
        if self._possible:
            say(f"warning: {self._settings.base_url} keeps no answers ({reason}); those lost on the way are paid for again")
        self._possible = False


def recover_lost(requests: Iterable[Request], store: Store, settings: WriterSettings) -> None:
    """Look for the answers to those requests that are lost, until each is kept or known to be absent.

    Raises:
        EngineError: the server does not let us look, or is gone.
    """
    lost = [request for request in requests if store.find_lost(request.key)]
    if lost and settings.recovers:
        asyncio.run(_recover_all(lost, store, settings))


async def _recover_all(lost: list[Request], store: Store, settings: WriterSettings) -> None:
    import openai

    async with openai.AsyncOpenAI(**build_options(settings, openai.DefaultAsyncHttpxClient)) as client:
        recovery = Recovery(client, store, settings)
        await asyncio.gather(*map(recovery.recover, lost))
