"""What the coding endpoint is asked and what it answers, as its OpenAPI document says it."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from icd10cm.rules import Severity

NOTICE = "Decision support only: a certified coder decides."
LONGEST_TEXT = 1_000_000
"""Characters of one text."""

Assertion = Literal["affirmed", "negated", "family_history", "history", "uncertain"]
"""How a text speaks of what a span names."""

LongText = Literal["whole", "truncate", "sections", "chunks", "conditions"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CodingRequest(_Model):
    """A text to be coded, and what is known of the patient and the encounter."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        json_schema_extra={"examples": [{"text": "T2DM w/ foot ulcer, HTN. Denies chest pain.", "sex": "F", "age": 67}]},
    )

    text: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_TEXT, pattern=r"\S")] = Field(
        description="a phrase or a whole note"
    )
    id: str | None = Field(
        default=None, max_length=200, description="yours, given back as it is; no name or number of a patient"
    )
    encounter: Literal["initial", "subsequent", "sequela"] | None = Field(
        default=None, description="compared with the 7th characters of injuries"
    )
    sex: Literal["F", "M"] | None = Field(default=None, description="of the patient")
    age: float | None = Field(default=None, ge=0, le=150, description="of the patient, in years")
    service_date: datetime.date | None = Field(default=None, description="compared with the dates of the release")
    model: str | None = Field(
        default=None, max_length=200, description="one of `models` in /v1/about; the first of them when left out"
    )
    threshold: float | None = Field(
        default=None, ge=0, le=1, description="least confidence of a code; the server's own when left out; 0 for every code"
    )
    alternatives: int = Field(default=3, ge=0, le=10, description="most alternatives for each code")
    evidence: bool = Field(default=True, description="whether to look for the spans that each code comes from")
    long_text: LongText | None = Field(
        default=None,
        description="what to do with a text longer than the model reads, or, by `conditions`, with any list of them; the "
        "server's own way when left out",
    )


class Span(_Model):
    """A piece of the text, found by asking the model again: how probable is the code if it reads this piece alone?

    Offsets count Unicode characters of the text as it was sent, the end not included.
    """

    start: int = Field(ge=0)
    end: int = Field(gt=0)
    text: str
    support: float | None = Field(
        ge=0, le=1, description="mean probability of the code's tokens where the model reads this span alone; null if not asked"
    )
    assertion: Assertion = Field(description="how the text speaks of it, by trigger words such as `denies`")
    trigger: str | None = Field(default=None, description="the words that say so")


class Alternative(_Model):
    """Another code that the model held probable where it wrote this one."""

    code: str
    title: str
    confidence: float = Field(ge=0, le=1, description="on the same scale as that of the code written")


class CodedCode(_Model):
    """A code that the model wrote. It is a billable code of the release, always."""

    code: str = Field(examples=["E11.621"])
    title: str
    category: str = Field(description="first three characters", examples=["E11"])
    category_title: str
    billable: bool
    confidence: float | None = Field(ge=0, le=1, description="how probably right; calibrated where `calibrated` says so")
    evidence: tuple[Span, ...] = Field(
        default=(), description="the span that supports it most, first; empty where none was found"
    )
    alternatives: tuple[Alternative, ...] = Field(default=(), description="most probable first")


class Finding(_Model):
    """What the rules of the code set, or the words around the evidence, say about the codes."""

    rule: str = Field(examples=["excludes1"])
    severity: Severity
    codes: tuple[str, ...]
    message: str
    node: str = Field(default="", description="code, block or chapter of the tabular list that says so")
    text: str = Field(default="", description="what it says")
    suggestions: tuple[str, ...] = Field(default=(), description="codes that would settle it")


class ModelFacts(_Model):
    """Who answered."""

    name: str
    sha256: str | None = Field(description="of the weights; null where the server does not say")
    prompt_version: str | None
    engine: str | None = Field(default=None, description="vllm or transformers")


class CodingResponse(_Model):
    """The codes of one text, and what a reviewer should know."""

    request_id: str
    id: str | None
    codes: tuple[CodedCode, ...] = Field(description="confidence at or above the threshold, principal diagnosis first")
    candidates: tuple[CodedCode, ...] = Field(description="written too, but with less confidence than the threshold")
    findings: tuple[Finding, ...] = Field(description="about `codes`, most serious first")
    abstained: bool = Field(description="whether no code reached the threshold: a person should code this text")
    threshold: float
    calibrated: bool = Field(description="whether confidence was calibrated on validation examples of this model")
    truncated: bool = Field(description="whether the text or the answer was cut, so that codes may be missing")
    n_parts: int = Field(ge=1, description="parts in which the model read the text")
    release: str = Field(description="of ICD-10-CM", examples=["2026"])
    model: ModelFacts
    notice: str = NOTICE


class CodingError(_Model):
    """A text of a batch that could not be coded."""

    request_id: str
    id: str | None
    error: str
    status: int = Field(description="the HTTP status that it would have had alone")
