"""What can stand between a text and its codes, each with what an API says about it."""

from __future__ import annotations

from icd10cm.errors import EngineError


class CodingFailure(EngineError):
    """A text was not coded. `status` is the HTTP status, `retry_after` the seconds after which to try again."""

    status = 502
    retry_after: int | None = None


class UpstreamDownError(CodingFailure):
    """The model server does not answer."""

    status = 503
    retry_after = 5


class UpstreamBusyError(CodingFailure):
    """The model server has more to do than it takes."""

    status = 503
    retry_after = 2


class UpstreamTimeoutError(CodingFailure):
    """The model server took too long."""

    status = 504
    retry_after = 10


class TextTooLongError(CodingFailure):
    """The text is longer than the model reads, and was to be read whole."""

    status = 413


class UnknownModelError(CodingFailure):
    """The server has no such model."""

    status = 404
