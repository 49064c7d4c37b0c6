"""Several servers of the same model: who takes the next request, who is down, and how long to wait when all are.

The official client repeats a request that failed in passing (refused or cut connections, 408, 409, 429 and 5xx, with pauses of
0.5 to 8 s, or as long as `Retry-After` says). What lasts longer is dealt with here: the server is left out and asked again
after a second, two, four … at most thirty, and its requests go to the others.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from icd10cm.address import is_this_machine
from icd10cm.config import suggest_name
from icd10cm.errors import EngineError
from serving.engines.base import RELEASE_HEADER

if TYPE_CHECKING:
    from openai import AsyncOpenAI

API_KEY_VARIABLE = "OPENAI_API_KEY"
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
_PROBE_SECONDS = 5.0


class Offer(NamedTuple):
    """What a server says it has.

    Attributes:
        owners: name of each model to its owner, which is `vllm` for vLLM; empty where it does not list them.
        release: release of the codes it answers with; None where it does not say.
    """

    owners: dict[str, str]
    release: str | None


class Server:
    """One server and how it fares.

    Attributes:
        url: such as `http://127.0.0.1:8000/v1`.
        is_vllm: whether the model's owner is vLLM.
        is_up: whether it takes requests.
        n_under_way: requests that it is working on.
        cause: why it is down.
    """

    def __init__(self, url: str):
        self.url = url.rstrip("/")
        self.is_vllm = False
        self.is_up = True
        self.n_under_way = 0
        self.cause = ""
        self.pause = _FIRST_PAUSE
        self.retry_at = 0.0
        self.is_asked = False


class ServerPool:
    """The servers, the first that answers being the measure of the others.

    Attributes:
        model: name of the model.
        release: release of the codes that the servers answer with; None where they do not say.
    """

    def __init__(self, urls: Sequence[str], model: str | None, options: dict[str, Any], concurrency: int, patience: float):
        """Ask every server which models it has.

        Args:
            urls: of the servers, each once.
            model: its name; may be left out when servers have only one.
            options: of the client.
            concurrency: most requests under way at a time at each server.
            patience: seconds to wait while no server answers.

        Raises:
            EngineError: none answers, one has no such model, or answers with the codes of another release than the first.
        """
        self.servers = [Server(url) for url in dict.fromkeys(urls)]
        self._options, self._concurrency, self._patience = options, concurrency, patience
        self._all_down_since: float | None = None
        self._has_told = False
        self._clients: dict[str, AsyncOpenAI] = {}
        self._changed = asyncio.Event()
        self.model, self.release = asyncio.run(self._meet(model))

    def open_clients(self) -> dict[str, AsyncOpenAI]:
        """Return a client for each server; for one event loop."""
        from openai import AsyncOpenAI, DefaultAsyncHttpxClient

        self._changed = asyncio.Event()
        self._clients = {}
        for server in self.servers:
            # what is meant for this machine stays on it: no proxy out of the environment, no redirect
            away = not is_this_machine(server.url)
            http_client = DefaultAsyncHttpxClient(trust_env=away, follow_redirects=away)
            self._clients[server.url] = AsyncOpenAI(base_url=server.url, http_client=http_client, **self._options)
        return self._clients

    async def take(self) -> Server:
        """Return the server for the next request, waiting for one where all are busy or down.

        Raises:
            EngineError: no server answered for as long as the patience lasts, or one came back with something else.
        """
        while True:
            await self._ask_those_due()
            up = [server for server in self.servers if server.is_up]
            free = [server for server in up if server.n_under_way < self._concurrency]
            if free:
                server = min(free, key=lambda server: server.n_under_way)
                server.n_under_way += 1
                return server
            await self._wait(None if up else self._check_patience())

    def give_back(self, server: Server) -> None:
        """Say that a request to `server` has ended, one way or the other."""
        server.n_under_way -= 1
        self._tell()

    def mark_down(self, server: Server, cause: str, what: str = "stopped answering") -> None:
        """Send no more requests to `server` for a while."""
        if not server.is_up:
            return
        server.is_up, server.cause, server.pause = False, cause, _FIRST_PAUSE
        server.retry_at = time.monotonic() + server.pause
        n_up = sum(server.is_up for server in self.servers)
        if not n_up:
            self._all_down_since = time.monotonic()
        if len(self.servers) > 1:
            rest = f"the other {n_up}" if n_up > 1 else "the other one" if n_up else "none"
            _say(f"warning: {server.url}: {what} ({cause}); its requests go to {rest}")
        self._tell()

    async def is_alive(self, server: Server) -> bool:
        """Whether `server` still lists its models."""
        return await self._find_problem(server) == ""

    async def _meet(self, wanted: str | None) -> tuple[str, str | None]:
        """Return the model and the release of the servers; those that do not answer are left out for now."""
        self.open_clients()
        offers = await asyncio.gather(*map(self._ask, self.servers), return_exceptions=True)
        for client in self._clients.values():
            await client.close()
        silent = [offer for offer in offers if isinstance(offer, _SilentError)]
        for offer in offers:
            if isinstance(offer, BaseException) and not isinstance(offer, _SilentError):
                raise offer
        if len(silent) == len(self.servers):
            raise silent[0]
        model, release, first = wanted, None, ""
        for server, offer in zip(self.servers, offers, strict=True):
            if not isinstance(offer, Offer):
                self.mark_down(server, offer.cause if isinstance(offer, _SilentError) else "", "does not answer")
            elif not first:
                model, release, first = _choose_model(server.url, offer, wanted), offer.release, server.url
                server.is_vllm = offer.owners.get(model) == "vllm"
            else:
                _compare(server, offer, str(model), release)
        return str(model), release

    async def _ask_those_due(self) -> None:
        for server in self.servers:
            if server.is_up or server.is_asked or time.monotonic() < server.retry_at:
                continue
            server.is_asked = True
            try:
                problem = await self._find_problem(server)
            finally:
                server.is_asked = False
            if problem:
                server.pause = min(2 * server.pause, _LONGEST_PAUSE)
                server.retry_at = time.monotonic() + server.pause
            else:
                server.is_up, self._all_down_since, self._has_told = True, None, False
                _say(f"{server.url}: answers again")
                self._tell()

    async def _find_problem(self, server: Server) -> str:
        """Return why `server` cannot take requests, empty where it can. Raises `EngineError` where it serves something else."""
        try:
            _compare(server, await self._ask(server, _PROBE_SECONDS, retries=0), self.model, self.release)
        except _SilentError as error:
            return error.cause
        return ""

    def _check_patience(self) -> float:
        """Return the seconds of patience left."""
        since = self._all_down_since or time.monotonic()
        left = self._patience - (time.monotonic() - since)
        first = self.servers[0]
        if left <= 0:
            who = f"{first.url}: the server" if len(self.servers) == 1 else f"{first.url} and the other servers"
            waited = f" {self._patience:g} s ago" if self._patience else ""
            raise EngineError(f"{who} stopped answering{waited} ({first.cause}); run the same command again to go on")
        if not self._has_told:
            self._has_told = True
            who = f"{first.url}: the server" if len(self.servers) == 1 else "all servers"
            _say(f"warning: {who} stopped answering ({first.cause}); waiting up to {self._patience:g} s")
        return left

    async def _wait(self, longest: float | None) -> None:
        """Wait until something changes, or a server that is down is to be asked again; `longest` seconds at most."""
        due = [server.retry_at - time.monotonic() for server in self.servers if not server.is_up and not server.is_asked]
        seconds = [*due, *([] if longest is None else [longest])]
        try:
            async with asyncio.timeout(max(0.01, min(seconds)) if seconds else None):
                await self._changed.wait()
        except TimeoutError:
            pass

    def _tell(self) -> None:
        """Wake all who wait."""
        self._changed.set()
        self._changed.clear()

    async def _ask(self, server: Server, timeout: float = 20.0, retries: int = 1) -> Offer:
        """Return what a server has. Raises `_SilentError` where nothing answers, `EngineError` where the key is wrong."""
        import openai

        client = self._clients[server.url].with_options(timeout=timeout, max_retries=retries)
        try:
            reply = await client.models.with_raw_response.list()
            owners = {model.id: model.owned_by or "" async for model in reply.parse()}
        except openai.APIConnectionError as error:
            raise _SilentError(server.url, "nothing answers there", find_cause(error)) from None
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise EngineError(f"{server.url}: {shorten(error.message)}; set {API_KEY_VARIABLE}") from None
        except openai.InternalServerError as error:
            raise _SilentError(server.url, "cannot answer", f"HTTP {error.status_code}: {shorten(error.message)}") from None
        except openai.APIError:
            return Offer({}, None)
        return Offer(owners, reply.headers.get(RELEASE_HEADER))


class _SilentError(EngineError):
    """A server does not answer, or not now."""

    def __init__(self, url: str, what: str, cause: str):
        super().__init__(f"{url}: {what} ({cause}); is the server running?")
        self.cause = cause


def _choose_model(url: str, offer: Offer, wanted: str | None) -> str:
    names = offer.owners
    if wanted is None and not names:
        raise EngineError(f"{url}: does not list its models; name one")
    if wanted is None and len(names) != 1:
        raise EngineError(f"{url}: has {len(names)} models, name one: {', '.join(sorted(names)[:10])}")
    name = wanted or next(iter(names))
    if names and name not in names:
        raise EngineError(f"{url}: has no model {name!r}{suggest_name(name, names)}")
    return name


def _compare(server: Server, offer: Offer, model: str, release: str | None) -> None:
    """Refuse a server that has another model or another release than the first one."""
    if offer.owners and model not in offer.owners:
        raise EngineError(
            f"{server.url}: has no model {model!r}{suggest_name(model, offer.owners)}; servers must serve the same"
        )
    if offer.owners and offer.release != release:
        raise EngineError(
            f"{server.url}: answers with the codes of release {offer.release or '(not said)'}, the first server with those of "
            f"{release or '(not said)'}; servers must serve the same"
        )
    server.is_vllm = offer.owners.get(model) == "vllm"


def find_cause(error: Exception) -> str:
    """Return in one short line what is behind an error of the client."""
    return shorten(str(error.__cause__ or error))


def shorten(text: str) -> str:
    """Return a text as one line of at most 200 characters."""
    return " ".join(text.split())[:200]


def _say(text: str) -> None:
    from tqdm import tqdm

    tqdm.write(text, file=sys.stderr)
