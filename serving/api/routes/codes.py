"""`/v1/codes` and `/v1/check`: the code system itself, without a model."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query

from icd10cm.codeset import CHAPTER_TITLES, add_dot
from serving.api.errors import ApiError, document_errors
from serving.api.routes import build_router
from serving.api.schemas import CheckRequest, CheckResponse, CodeEntry, CodeHit, CodeHits, KnownCode, TabularNote
from serving.api.service import Service, get_service
from serving.coding.models import Finding

router = build_router("codes")

_MOST_HITS = 50


@router.get("/v1/codes", summary="Find codes", responses=document_errors(422))
async def find_codes(
    service: Annotated[Service, Depends(get_service)],
    query: Annotated[str, Query(min_length=1, max_length=300, description="words, or the beginning of a code")],
    limit: Annotated[int, Query(ge=1, le=_MOST_HITS, description="most codes")] = 10,
    headings: Annotated[bool, Query(description="also codes that are not billable")] = False,
) -> CodeHits:
    """Return the codes nearest to some words in any order, abbreviated or misspelled, best first."""
    hits = await service.compute(lambda: service.index.search(query, limit, billable_only=not headings))
    return CodeHits(hits=tuple(CodeHit(**hit._asdict()) for hit in hits), release=service.codes.release)


@router.get("/v1/codes/{code}", summary="Look a code up", responses=document_errors(404, 422))
async def show_code(
    service: Annotated[Service, Depends(get_service)],
    code: Annotated[str, Path(min_length=1, max_length=12, description="in any usual spelling", examples=["E11.621"])],
) -> CodeEntry:
    """Return a code or heading with its place and the notes of the tabular list in force at it."""
    name, codes = add_dot(code), service.codes
    if name not in codes.headings:
        raise ApiError(404, f"release {codes.release} has no such code")
    category, chapter = codes.category(name), codes.chapter(name)
    notes = service.tabular.notes(name, inherited=True)
    return CodeEntry(
        code=name,
        title=codes.title(name),
        billable=codes.is_billable(name),
        category=category,
        category_title=codes.title(category),
        chapter=chapter,
        chapter_title=CHAPTER_TITLES[chapter],
        notes=tuple(TabularNote(node=note.node, kind=note.kind, text=note.text) for note in notes),
        seventh_characters=dict(service.tabular.seventh_characters(name)),
        release=codes.release,
    )


@router.post("/v1/check", summary="Check a list of codes", responses=document_errors(413, 415, 422))
async def check_list(asked: CheckRequest, service: Annotated[Service, Depends(get_service)]) -> CheckResponse:
    """Return what the rules of the code set say about a list, each remark with the note that says so."""
    codes = service.codes
    found = await service.compute(
        lambda: service.checker.check(asked.codes, asked.sex, asked.age, asked.encounter, asked.service_date)
    )
    return CheckResponse(
        codes=tuple(
            KnownCode(
                code=name,
                title=codes.headings[name].title if name in codes.headings else None,
                billable=codes.is_billable(name),
            )
            for name in map(add_dot, asked.codes)
        ),
        findings=tuple(Finding(**finding._asdict()) for finding in found),
        release=codes.release,
    )
