"""What the routes beside `/v1/coding` are asked and answer, as the OpenAPI document says it."""

from __future__ import annotations

import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from serving.coding.models import NOTICE, CodingError, CodingRequest, CodingResponse, Finding

MOST_CODES = 100
"""Codes of one list."""

CodeText = Annotated[str, StringConstraints(min_length=1, max_length=12)]
RequestId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}(-[0-9]{1,4})?$")]
Reference = Annotated[str, StringConstraints(pattern=r"^([A-Z][A-Za-z]{1,40}/[A-Za-z0-9\-.]{1,64}|urn:uuid:[0-9a-f-]{36})$")]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _with_example(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(extra="forbid", frozen=True, json_schema_extra={"examples": [example]})


class BatchRequest(_Model):
    """Several texts."""

    model_config = _with_example({"items": [{"text": "T2DM w/ foot ulcer", "id": "a"}, {"text": "HTN", "id": "b"}]})

    items: tuple[CodingRequest, ...] = Field(min_length=1, description="at most `batch_items` of /v1/about")


class BatchResponse(_Model):
    """What became of each text, in the order of the request."""

    results: tuple[CodingResponse | CodingError, ...]


class CheckRequest(_Model):
    """A list of codes to be checked, and what is known of the patient and the encounter."""

    model_config = _with_example({"codes": ["E11.9", "E10.9"], "sex": "F", "age": 67})

    codes: tuple[CodeText, ...] = Field(max_length=MOST_CODES, description="principal diagnosis first")
    encounter: Literal["initial", "subsequent", "sequela"] | None = None
    sex: Literal["F", "M"] | None = None
    age: float | None = Field(None, ge=0, le=150, description="in years")
    service_date: datetime.date | None = None


class KnownCode(_Model):
    """A code of the list, as the release has it."""

    code: str
    title: str | None = Field(description="null where the release has no such code")
    billable: bool


class CheckResponse(_Model):
    """What there is to say about the list."""

    codes: tuple[KnownCode, ...]
    findings: tuple[Finding, ...] = Field(description="most serious first")
    release: str
    notice: str = NOTICE


class CodeHit(_Model):
    """A code that was found."""

    code: str
    title: str
    score: float = Field(ge=0, le=1, description="1 means that query and term say the same")
    matched: str = Field(description="the term that was found")
    kind: str = Field(description="title, inclusion term, index or code")


class CodeHits(_Model):
    """Codes for some words, best first."""

    hits: tuple[CodeHit, ...]
    release: str


class TabularNote(_Model):
    """A note of the tabular list."""

    node: str = Field(description="code, block or chapter where it stands")
    kind: str = Field(examples=["excludes1"])
    text: str


class CodeEntry(_Model):
    """A code or heading, with the notes in force at it."""

    code: str
    title: str
    billable: bool
    category: str
    category_title: str
    chapter: int
    chapter_title: str
    notes: tuple[TabularNote, ...] = Field(description="its own first, then those of the nodes above it")
    seventh_characters: dict[str, str]
    release: str


class Decision(_Model):
    """What a reviewer decided about one code."""

    code: CodeText = Field(description="as the model wrote it, or as the reviewer added it")
    decision: Literal["accepted", "rejected", "replaced", "added"]
    replacement: CodeText | None = Field(None, description="for `replaced`: the code that stands instead")
    confidence: float | None = Field(None, ge=0, le=1, description="of the code, as it was shown")


class DecisionRequest(_Model):
    """A reviewer's decisions on the codes of one text."""

    model_config = _with_example(
        {
            "request_id": "0123456789abcdef0123456789abcdef",
            "decisions": [{"code": "E11.621", "decision": "accepted"}, {"code": "I10", "decision": "rejected"}],
            "final_codes": ["E11.621"],
            "reviewer": "coder-7",
        }
    )

    request_id: RequestId = Field(description="of the coding response")
    decisions: tuple[Decision, ...] = Field(max_length=MOST_CODES)
    final_codes: tuple[CodeText, ...] = Field(max_length=MOST_CODES, description="what is submitted, principal diagnosis first")
    reviewer: Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]{1,80}$")] | None = Field(
        None, description="who decided: an initial, a number, no patient"
    )


class DecisionResponse(_Model):
    """Where the decisions stand in the audit log."""

    sequence: int
    hash: str = Field(description="for `icdtune audit verify --head`")


class ReviewedList(_Model):
    """The final codes of one text."""

    request_id: RequestId
    id: str | None = Field(None, max_length=200)
    subject: Reference | None = Field(None, description="FHIR reference to the patient, such as Patient/123")
    encounter: Reference | None = Field(None, description="FHIR reference to the encounter")
    codes: tuple[CodeText, ...] = Field(min_length=1, max_length=MOST_CODES, description="principal diagnosis first")
    reviewed: bool = Field(True, description="whether a person decided; false for codes as the model wrote them")


class ExportRequest(_Model):
    """Lists to be written as one file."""

    model_config = _with_example(
        {"items": [{"request_id": "0123456789abcdef0123456789abcdef", "codes": ["E11.621"], "subject": "Patient/123"}]}
    )

    items: tuple[ReviewedList, ...] = Field(min_length=1, max_length=1000)


class Limits(_Model):
    """How much may be asked."""

    max_text_characters: int
    max_body_bytes: int
    batch_items: int
    requests_per_minute: int = Field(description="for each key, texts of a batch counted one by one")
    request_seconds: float


class About(_Model):
    """Who answers, with what, and how much may be asked."""

    version: str
    release: str
    models: tuple[str, ...] = Field(
        description="the first is taken where a request names none; empty while the model server is down"
    )
    threshold: float | None = Field(description="of the first model, where a request gives none; null while it is not known")
    calibrated: bool = Field(description="whether the confidence of the first model was calibrated")
    long_text: str = Field(description="how the first model reads long texts, where a request does not say")
    key_required: bool
    limits: Limits
    openai_routes: bool
    notice: str = NOTICE


class Health(_Model):
    """Whether the API or its model server answers."""

    status: Literal["ok"]
