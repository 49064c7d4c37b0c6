"""The coding API of another process, asked as any client of it would ask."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from icd10cm.errors import EngineError
from serving.coding.models import CodingRequest, CodingResponse

if TYPE_CHECKING:
    import httpx

_AT_ONCE = 8


def is_coding_api(base_url: str, api_key: str | None = None) -> bool:
    """Whether a coding API answers at an address, such as `http://127.0.0.1:8080`; a model server answers otherwise."""
    import httpx

    try:
        reply = httpx.get(f"{_find_root(base_url)}/v1/about", headers=_authorize(api_key), timeout=10, trust_env=False)
        return reply.status_code == httpx.codes.OK and "release" in reply.json()
    except (httpx.HTTPError, ValueError, TypeError):
        return False


class CodingApi:
    """A coding API; like `Coder`, for one event loop."""

    def __init__(self, base_url: str, api_key: str | None = None, timeout: float = 120.0):
        import httpx

        self.base_url = _find_root(base_url)
        self._client = httpx.AsyncClient(headers=_authorize(api_key), timeout=timeout, trust_env=False)
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def start(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """End all connections."""
        await self._client.aclose()

    async def code(self, request: CodingRequest, request_id: str) -> CodingResponse:
        """Return the codes of a text; the API gives it a `request_id` of its own. Raises `EngineError`."""
        import httpx

        body = request.model_dump(mode="json", exclude_unset=True)
        async with self._places:
            try:
                response = await self._client.post(f"{self.base_url}/v1/coding", json=body)
            except httpx.HTTPError as error:
                raise EngineError(f"the coding API does not answer ({type(error).__name__})") from None
        if response.status_code != httpx.codes.OK:
            raise EngineError(f"HTTP {response.status_code}: {_read_message(response)}")
        return CodingResponse.model_validate(response.json())


def _find_root(base_url: str) -> str:
    return base_url.rstrip("/").removesuffix("/v1")


def _authorize(api_key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


def _read_message(response: httpx.Response) -> str:
    try:
        content = response.json()
        found = content.get("error", content)
        return str(found.get("message", found) if isinstance(found, dict) else found)[:200]
    except (ValueError, AttributeError):
        return response.reason_phrase
