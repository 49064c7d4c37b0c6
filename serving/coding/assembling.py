"""From an answer to the response: titles, confidence, the threshold, what the rules and the words around the evidence say."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from icd10cm.rules import Checker, Severity
from serving.coding.answering import Answer, WrittenCode
from serving.coding.calibration import Calibration, find_confidence
from serving.coding.models import Alternative, CodedCode, CodingRequest, CodingResponse, Finding, ModelFacts, Span

_LEAST_SHARE = 0.001
"""Confidence below which an alternative is none."""
_FAMILY_TITLES = "family history"
_RANK = {severity: rank for rank, severity in enumerate(Severity)}


class Asked(NamedTuple):
    """Who answered, and how.

    Attributes:
        model: who.
        calibration: of its confidence; None where there is none.
        threshold: least confidence of a code where the request does not say.
        n_parts: parts in which the text was read.
        cut: whether some of the text was not read.
    """

    model: ModelFacts
    calibration: Calibration | None = None
    threshold: float | None = None
    n_parts: int = 1
    cut: bool = False

    def choose_threshold(self, request: CodingRequest) -> float:
        """Return the request's threshold, the server's, that of the calibration, or 0, the first that there is."""
        calibrated = self.calibration.threshold if self.calibration else 0.0
        return next(value for value in (request.threshold, self.threshold, calibrated) if value is not None)


def build_response(
    request: CodingRequest,
    request_id: str,
    answer: Answer,
    evidence: Mapping[str, Sequence[Span]],
    asked: Asked,
    checker: Checker,
) -> CodingResponse:
    """Return the response to a request.

    Args:
        request: what was asked.
        request_id: given back.
        answer: of the model to the whole text.
        evidence: code to its spans.
        asked: who answered, and how.
        checker: the rules, with the release.
    """
    threshold = asked.choose_threshold(request)
    coded = [_build_code(written, evidence.get(written.code, ()), request, asked, checker) for written in answer.codes]
    codes = [one for one in coded if _reaches(one, threshold)]
    return CodingResponse(
        request_id=request_id,
        id=request.id,
        codes=tuple(codes),
        candidates=tuple(one for one in coded if not _reaches(one, threshold)),
        findings=tuple(find_findings(request, codes, checker)),
        abstained=not codes,
        threshold=threshold,
        calibrated=asked.calibration is not None,
        truncated=answer.truncated or asked.cut,
        n_parts=asked.n_parts,
        release=checker.knowledge.codes.release,
        model=asked.model,
    )


def find_findings(request: CodingRequest, codes: Sequence[CodedCode], checker: Checker) -> list[Finding]:
    """Return what the rules say about a list of codes, and what the words around their evidence say, most serious first.

    Reminders of instructions that may not apply to this patient are left out.
    """
    if checker.knowledge.codes.release != checker.knowledge.tabular.release:
        found = []
    else:
        listed = [one.code for one in codes]
        found = checker.check(listed, request.sex, request.age, request.encounter, request.service_date)
    findings = [Finding(**finding._asdict()) for finding in found if finding.severity != Severity.INFO]
    findings += [finding for one in codes for finding in _find_contradictions(one)]
    return sorted(findings, key=lambda finding: _RANK[finding.severity])


def _build_code(
    written: WrittenCode, evidence: Sequence[Span], request: CodingRequest, asked: Asked, checker: Checker
) -> CodedCode:
    codes = checker.knowledge.codes
    confidence = find_confidence(written.score, asked.calibration)
    category = codes.category(written.code)
    category_title = codes.title(category) if category in codes else checker.knowledge.tabular.titles.get(category, "")
    return CodedCode(
        code=written.code,
        title=codes.title(written.code),
        category=category,
        category_title=category_title,
        billable=True,
        confidence=confidence,
        evidence=tuple(evidence),
        alternatives=tuple(
            Alternative(code=code, title=codes.title(code), confidence=_share(confidence, odds))
            for code, odds in written.alternatives[: request.alternatives]
            if confidence is not None and _share(confidence, odds) >= _LEAST_SHARE
        ),
    )


def _share(confidence: float, odds: float) -> float:
    """Return the confidence of an alternative by its odds against the code written; together they are at most 1."""
    return round(min(confidence * math.exp(odds), 1 - confidence), 4)


def _reaches(coded: CodedCode, threshold: float) -> bool:
    return threshold == 0 if coded.confidence is None else coded.confidence >= threshold


def _find_contradictions(coded: CodedCode) -> list[Finding]:
    """Return a warning where all that a code comes from is said to be absent, or a relative's."""
    said = {span.assertion for span in coded.evidence}
    triggers = " / ".join(dict.fromkeys(span.trigger for span in coded.evidence if span.trigger))
    if said == {"negated"}:
        return [_warn("negated_evidence", coded, f"the text says that what it comes from is absent ({triggers!r})")]
    if said and said <= {"family_history", "negated"} and _FAMILY_TITLES not in coded.title.lower():
        return [_warn("family_history_evidence", coded, f"the text speaks of a relative where it comes from ({triggers!r})")]
    return []


def _warn(rule: str, coded: CodedCode, what: str) -> Finding:
    return Finding(
        rule=rule,
        severity=Severity.WARNING,
        codes=(coded.code,),
        message=f"{coded.code}: {what}",
        node="",
        text="",
        suggestions=(),
    )
