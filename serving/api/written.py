"""Lists of codes as they are exported, whether a model wrote them or a reviewer decided."""

from __future__ import annotations

import datetime
from typing import NamedTuple

from icd10cm.codeset import CodeSet
from serving.api.errors import ApiError
from serving.api.fhir_bundle import Subject
from serving.api.schemas import ReviewedList
from serving.coding.models import CodingResponse, ModelFacts


class WrittenCode(NamedTuple):
    """A code of a list; its texts are the spans that it comes from, and are empty unless they were asked for."""

    code: str
    title: str
    confidence: float | None = None
    texts: tuple[str, ...] = ()


class WrittenList(NamedTuple):
    """The codes of one text.

    Attributes:
        reviewed: whether a person decided; the model wrote them otherwise.
        model: which wrote them, None where it is not told.
    """

    request_id: str
    id: str | None
    codes: tuple[WrittenCode, ...]
    release: str
    reviewed: bool
    recorded: datetime.datetime
    subject: Subject
    model: ModelFacts | None = None


def read_response(response: CodingResponse, subject: Subject, include_text: bool) -> WrittenList:
    """Return the codes that a model wrote, candidates left out."""
    codes = tuple(
        WrittenCode(
            coded.code,
            coded.title,
            coded.confidence,
            tuple(span.text for span in coded.evidence) if include_text else (),
        )
        for coded in response.codes
    )
    now = datetime.datetime.now(datetime.UTC)
    return WrittenList(response.request_id, response.id, codes, response.release, False, now, subject, response.model)


def read_reviewed(listed: ReviewedList, codes: CodeSet) -> WrittenList:
    """Return the codes that a reviewer decided for. Raises `ApiError` 422 where one is no billable code."""
    check_codes(listed.codes, codes)
    written = tuple(WrittenCode(code, codes.title(code)) for code in listed.codes)
    now = datetime.datetime.now(datetime.UTC)
    subject = Subject(listed.subject, listed.encounter)
    return WrittenList(listed.request_id, listed.id, written, codes.release, listed.reviewed, now, subject)


def check_codes(listed: tuple[str, ...], codes: CodeSet) -> None:
    """Raise `ApiError` 422 unless all are billable codes of the release as it writes them, each once."""
    for place, code in enumerate(listed, 1):
        if code not in codes.headings or not codes.headings[code].billable:
            raise ApiError(422, f"code {place} of the list is no billable code of release {codes.release}")
    if len(set(listed)) != len(listed):
        raise ApiError(422, "a code is in the list twice")
