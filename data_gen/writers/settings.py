"""Whom to ask for texts, how fast, and for how much."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, FilePath, NonNegativeInt, PositiveFloat, PositiveInt, field_validator, model_validator

from data_gen.folders import FolderPath
from data_gen.leaving import check_leaving
from data_gen.restricted import is_restricted
from icd10cm.address import check_address, is_this_machine
from icd10cm.config import Settings

_OURS = (
    "model", "messages", "max_tokens", "max_completion_tokens", "temperature", "response_format", "stream", "n",
    "store", "metadata",
)  # fmt: skip


class Prices(Settings):
    """What the provider charges, as read from its price list on a day."""

    as_of: date = Field(description="day on which the prices were read, such as 2026-11-21")
    input_per_million_usd: float = Field(ge=0, description="US dollars per million input tokens")
    output_per_million_usd: float = Field(ge=0, description="US dollars per million output tokens")
    batch_discount: float = Field(0.5, ge=0, le=1, description="share taken off by the Batch API")


class WriterSettings(Settings):
    """A language model that writes texts. The key comes from the environment variable `OPENAI_API_KEY` only."""

    base_url: str = Field(description="such as https://api.openai.com/v1, or http://127.0.0.1:8000/v1 for a vLLM of your own")
    model: str = Field(min_length=1, description="name of the model on that server")
    store: FolderPath | None = Field(None, description="folder of the answers; output_dir with `_answers` behind it when null")
    structured: Literal["json_schema", "json_object", "text"] = Field(
        "json_schema", description="response_format to ask for; text for servers that know none"
    )
    temperature: float | None = Field(1.0, ge=0, le=2, description="left out of the request when null")
    max_tokens: PositiveInt = Field(
        600, description="most tokens of an answer; doubled for the next attempt after a cut answer"
    )
    max_tokens_key: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="what the server calls that limit; OpenAI's reasoning models want max_completion_tokens"
    )
    extra_body: dict[str, Any] = Field(default_factory=dict, description="more keys of the request, such as reasoning_effort")
    spare: NonNegativeInt = Field(3, description="texts asked for beyond those wanted, since row checks refuse some")
    attempts: PositiveInt = Field(2, description="requests for a code and variation whose answers cannot be read, paid each")
    concurrency: PositiveInt = Field(16, description="requests under way at a time")
    requests_per_minute: PositiveInt | None = Field(None, description="no more than that; the provider's headers count too")
    tokens_per_minute: PositiveInt | None = Field(None, description="no more than that, input and output together")
    timeout: PositiveFloat = Field(120.0, description="seconds to wait for an answer")
    retries: NonNegativeInt = Field(6, description="how often a request that failed in passing is sent again")
    recover: bool | None = Field(
        None,
        description="true: the provider keeps each request and its answer (OpenAI: stored chat completions), and after a kill, "
        "a timeout or a cut connection the answer is fetched instead of paid for again. Only ICD titles and what the model "
        "wrote of them go there. False for providers that refuse the keys store and metadata; null: where prices are set and "
        "examples_file is not",
    )
    prices: Prices | None = Field(None, description="needed for an address that is not this machine")
    examples_file: FilePath | None = Field(
        None, description="texts whose style to follow, one a line; taken for clinical text, which does not leave this machine"
    )
    allow_clinical_text_to_leave: bool = Field(
        False,
        description="true: the lines of examples_file, and texts chosen after a diagnoses_file or another file marked as "
        "restricted, may be asked of another machine. Credentialed data (MIMIC) may not leave, unless its data use agreement "
        "and the provider's terms allow it",
    )

    @property
    def recovers(self) -> bool:
        """Whether the provider is asked to keep the answers, and lost ones are looked for there."""
        return self.prices is not None and self.examples_file is None if self.recover is None else self.recover

    @field_validator("base_url")
    @classmethod
    def _check_url(cls, url: str) -> str:
        return check_address(url)

    @field_validator("extra_body")
    @classmethod
    def _check_extra(cls, extra: dict[str, Any]) -> dict[str, Any]:
        taken = [key for key in extra if key in _OURS]
        if taken:
            raise ValueError(f"{', '.join(taken)} cannot be set here; the writer sets it")
        return extra

    @model_validator(mode="after")
    def _check_leaving(self) -> Self:
        if is_this_machine(self.base_url):
            return self
        self.check_clinical(self.examples_file)
        if self.examples_file and self.recover:
            raise ValueError(
                f"recover would make {urlsplit(self.base_url).hostname} keep the lines of {self.examples_file}; "
                "leave out recover or examples_file"
            )
        if self.prices is None:
            raise ValueError(
                f"prices are needed for {urlsplit(self.base_url).hostname}: "
                "{as_of: 2026-11-21, input_per_million_usd: 0.15, output_per_million_usd: 0.60} with the provider's own figures"
            )
        return self

    def check_clinical(self, path: Path | None) -> None:
        """Raise `ValueError` where the model is on another machine, which a clinical file may not reach."""
        if path is not None:
            allowed = self.allow_clinical_text_to_leave
            check_leaving(str(path), [self.base_url], allowed, "use a server on this machine", prefix="writer.")


class Backend(Settings):
    """Who writes the texts of the variations: the rules, or a language model."""

    backend: Literal["rules", "openai"] = Field(
        "rules", description="who writes: rules (offline), or openai: any API that speaks OpenAI's, described by writer"
    )
    writer: WriterSettings | None = Field(None, description="whom to ask: {base_url: …, model: …}; for backend openai")
    batch: bool = Field(False, description="use the Batch API: submit, leave, and collect by the same command; backend openai")
    max_cost_usd: float | None = Field(None, description="spend no more than that over all runs with one store; backend openai")

    @field_validator("max_cost_usd")
    @classmethod
    def _check_budget(cls, limit: float | None) -> float | None:
        if limit is not None and not 0 < limit < float("inf"):
            raise ValueError(f"{limit:g} pays for no request; give an amount above 0, or leave it out for no limit")
        return limit

    @model_validator(mode="after")
    def _check_backend(self) -> Self:
        if self.backend == "openai":
            if self.writer is None:
                raise ValueError("backend openai needs `writer: {base_url: http://127.0.0.1:8000/v1, model: …}`")
            if self.max_cost_usd is not None and self.writer.prices is None:
                raise ValueError("max_cost_usd needs `writer.prices`; without prices nothing can be counted")
            clinical = self.list_clinical_files()
            if not is_this_machine(self.writer.base_url):
                clinical += filter(is_restricted, self.list_files())
            for path in clinical:
                self.writer.check_clinical(path)
            return self
        unused = [name for name in ("batch", "max_cost_usd") if getattr(self, name)]
        if unused:
            raise ValueError(f"{' and '.join(unused)} would have no effect: backend is rules; set backend: openai")
        return self

    def list_clinical_files(self) -> list[Path]:
        """Return the files of real patients that decide what is asked; none unless the settings it is mixed into have some."""
        return []

    def list_files(self) -> list[Path]:
        """Return every file that the texts are made after; none unless the settings it is mixed into have some."""
        return []
