"""Write the codes for a phrase, for each line of a file, or of standard input.

icdtune code "T2DM w/ foot ulcer"                                            the default model
icdtune code --file phrases.txt --threshold 0.5
icdtune code notes.jsonl --json > coded.jsonl                                one object per line: text, and id, sex, age …
icdtune code "T2DM w/ foot ulcer" --base-url http://127.0.0.1:8000/v1        a model server, or the coding API itself

A code that the model is not sure enough of stands below the threshold, which comes with the calibration of the model.
Exit status: 0, or 1 when a text has no code at or above the threshold, or 2 for bad input and for texts that were not coded.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import Field, FilePath, PositiveInt

from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError, EngineError, ICDTuneError
from icd10cm.tabular import Tabular
from serving.code_texts import read_requests
from serving.coding.models import CodedCode, CodingRequest, CodingResponse, LongText, Span
from serving.default_model import describe_model, find_model
from serving.engines.server_pool import API_KEY_VARIABLE

ABSTAINED = 1
_AT_ONCE = 32
_NEARLY_SURE = 0.99


class CodeSettings(Settings):
    """What to code, and who does it."""

    phrase: str | None = Field(None, description="clinical text, or a file of texts; standard input when left out")
    file: Path | None = Field(
        None, description="file with one text per line; .jsonl: an object per line with text, id, sex, age …"
    )
    model: Path | None = Field(None, description="checkpoint folder; the default model's when left out")
    base_url: str | None = Field(
        None, description="URL of an OpenAI-compatible server, such as http://127.0.0.1:8000/v1, or of the coding API"
    )
    model_name: str | None = Field(None, description="name of the model on that server; its first one when left out")
    code_file: FilePath | None = Field(None, description="CMS code file of the release to use; the embedded one when empty")
    tabular_file: FilePath | None = Field(None, description="CMS tabular XML of the release; the embedded one when empty")
    threshold: float | None = Field(
        None, ge=0, le=1, description="least confidence of a code; by the calibration when left out"
    )
    alternatives: int | None = Field(None, ge=0, le=10, description="most alternatives for each code; 3 when left out")
    evidence: bool = Field(True, description="look for the spans that each code comes from")
    long_text: LongText | None = Field(
        None,
        description="what to do with a text longer than the model reads: whole, truncate, sections or chunks; conditions: "
        "read each line, item or sentence by itself, what commas or `and` join as is surest; the model's own way when left "
        "out, usually chunks",
    )
    sex: Literal["F", "M"] | None = Field(None, description="for every text that does not say itself, like the next three")
    age: float | None = Field(None, ge=0, le=150, description="age in years")
    encounter: Literal["initial", "subsequent", "sequela"] | None = Field(None, description="compared with the 7th characters")
    service_date: str | None = Field(None, description="day of service, YYYY-MM-DD: is it coded with this release?")
    constrained: bool = Field(True, description="let answers hold existing codes only")
    max_tokens: PositiveInt = Field(256, description="most tokens an answer of --model may have")
    timeout: float = Field(120.0, gt=0, description="seconds for one request to a server")
    as_json: bool = Field(False, description="write JSON, one object per text")


class _Coder(Protocol):
    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def code(self, request: CodingRequest, request_id: str) -> CodingResponse: ...


_OPTIONS = ("threshold", "alternatives", "evidence", "long_text", "sex", "age", "encounter", "service_date")


def main(argv: Sequence[str] | None = None) -> int | None:
    """Code each text and print what came of it, in their order."""
    settings = load_settings(CodeSettings, argv, doc=__doc__ or "", prog="icdtune code", positional="phrase")
    options = {key: value for key in _OPTIONS if (value := getattr(settings, key)) is not None}
    if settings.model_name:
        options["model"] = settings.model_name
    requests = read_requests(settings.phrase, settings.file, options)
    results = asyncio.run(_code_all(settings, requests))
    failed = [result for result in results if isinstance(result, ICDTuneError)]
    say("Decision support only: a certified coder decides.")
    if failed:
        where = f"{settings.base_url}: " if settings.base_url else ""
        raise EngineError(f"{where}{len(failed)} of {len(results)} texts were not coded: {failed[0]}")
    return ABSTAINED if any(isinstance(result, CodingResponse) and result.abstained for result in results) else 0


async def _code_all(settings: CodeSettings, requests: Sequence[CodingRequest]) -> list[CodingResponse | ICDTuneError]:
    """Code all texts, some at a time, and print each as soon as those before it are there."""
    coder = _choose_coder(settings, len(requests))
    write = write_json if settings.as_json else write_table
    places = asyncio.Semaphore(_AT_ONCE)

    async def code(number: int, request: CodingRequest) -> CodingResponse | ICDTuneError:
        async with places:
            try:
                return await coder.code(request, f"text-{number}")
            except ICDTuneError as error:
                return error

    try:
        await coder.start()
        for warning in getattr(getattr(coder, "facts", None), "warnings", ()):
            say(f"warning: {warning}")
        tasks = [asyncio.create_task(code(number, request)) for number, request in enumerate(requests, 1)]
        results = []
        try:
            for request, task in zip(requests, tasks, strict=True):
                results.append(await task)
                print(write(request, results[-1]), flush=True)
        finally:
            for task in tasks:
                task.cancel()
    finally:
        await coder.close()
    n_rejected = getattr(coder, "n_rejected", 0)
    if n_rejected:
        say(f"{n_rejected} of the codes written are none of the release, and were left out")
    return results


def _choose_coder(settings: CodeSettings, n_texts: int) -> _Coder:
    """Return who codes: the coding API, a model server, or a checkpoint in this process."""
    key = os.environ.get(API_KEY_VARIABLE)
    if settings.model is not None and settings.base_url is not None:
        raise ConfigError("give a checkpoint folder (--model) or the URL of a server (--base-url), not both")
    if settings.base_url is not None:
        from serving.coding.api_client import CodingApi, is_coding_api

        if is_coding_api(settings.base_url, key):
            return CodingApi(settings.base_url, key, settings.timeout)
    from serving.coding.coder import Coder

    codes, tabular = CodeSet.load(settings.code_file), Tabular.load(settings.tabular_file)
    backend: Any
    if settings.base_url is not None:
        from serving.coding.upstream import Upstream

        backend = Upstream(settings.base_url, api_key=key, timeout=settings.timeout, constrained=settings.constrained)
    else:
        from serving.coding.local import LocalModel

        folder = find_model(settings.model)
        backend = LocalModel(folder, codes, constrained=settings.constrained, max_tokens=settings.max_tokens, n_texts=n_texts)
        say(f"model: {describe_model(backend.checkpoint)}")
    return Coder(backend, codes=codes, tabular=tabular)


def write_json(request: CodingRequest, result: CodingResponse | ICDTuneError) -> str:
    """Return a line: the text and the response, or the error."""
    if isinstance(result, CodingResponse):
        return json.dumps({"text": request.text, **result.model_dump(mode="json")}, ensure_ascii=False)
    return json.dumps({"text": request.text, "id": request.id, "error": str(result)}, ensure_ascii=False)


def write_table(request: CodingRequest, result: CodingResponse | ICDTuneError) -> str:
    """Return a text and its codes for a person."""
    lines = [request.id or " ".join(request.text.split())[:100]]
    if not isinstance(result, CodingResponse):
        return "\n".join([*lines, f"  not coded: {result}"])
    for coded in result.codes:
        lines += _write_code(coded, request)
    if result.abstained:
        lines.append("  no code" + (f" reaches the threshold {result.threshold:.2f}" if result.candidates else ""))
    if result.candidates:
        lines.append(f"  less sure than the threshold {result.threshold:.2f}:")
        for coded in result.candidates:
            lines += _write_code(coded, request)
    if result.truncated:
        lines.append("  … the text or the answer was cut, codes may be missing")
    return "\n".join([*lines, *(f"  ! {finding.message}" for finding in result.findings)])


def write_confidence(confidence: float | None) -> str:
    """Return a confidence in percent; nothing is wholly sure."""
    if confidence is None:
        return ""
    return ">99%" if confidence > _NEARLY_SURE else f"{confidence:.0%}"


def _write_code(coded: CodedCode, request: CodingRequest) -> Iterator[str]:
    yield f"  {coded.code:<8}  {write_confidence(coded.confidence):>4}  {coded.title}"
    for span in coded.evidence:
        if span.assertion != "affirmed" or span.text.strip() != request.text.strip():
            yield f"{'':18}{_write_span(span)}"
    others = [f"{other.code} {other.confidence:.0%}" for other in coded.alternatives if other.confidence >= 0.01]
    if others:
        yield f"{'':18}or {', '.join(others)}"


def _write_span(span: Span) -> str:
    said = "" if span.assertion == "affirmed" else f" ({span.assertion.replace('_', ' ')}: {span.trigger})"
    return f'from "{" ".join(span.text.split())}"{said}'


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
