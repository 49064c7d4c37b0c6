"""Lists of codes as a FHIR R4 Bundle of Conditions, validated before it leaves.

The library's models nearest to R4 (4.0.1) are those of R4B (4.3.0), in which Bundle, Condition and Provenance are unchanged.
"""

from __future__ import annotations

import datetime
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from serving.api.written import WrittenCode, WrittenList

SYSTEM = "http://hl7.org/fhir/sid/icd-10-cm"
_STATUS = "http://terminology.hl7.org/CodeSystem/condition-ver-status"
_CATEGORY = "http://terminology.hl7.org/CodeSystem/condition-category"
_OBSERVED = "http://terminology.hl7.org/CodeSystem/v3-ObservationValue"
_AGENT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_NAMES = uuid.UUID("6f1c3f0e-3c55-4f0a-9c39-0d2c6b1f7a10")

UNREVIEWED = {"system": "urn:icdtune:review", "code": "unreviewed", "display": "Written by a model, reviewed by nobody"}
REVIEWED = {"system": "urn:icdtune:review", "code": "reviewed", "display": "Decided by a reviewer"}


class Subject(NamedTuple):
    """FHIR references to the patient and the encounter; None where they are not given."""

    patient: str | None = None
    encounter: str | None = None


def build_bundle(lists: Sequence[WrittenList]) -> dict[str, Any]:
    """Return a Bundle (type collection) as JSON: Conditions and, for each list, a Provenance that says who wrote them.

    Raises:
        ValueError: FHIR's rules do not allow it, which would be a bug.
    """
    from fhir.resources.R4B.bundle import Bundle

    entries: list[dict[str, Any]] = []
    for place, listed in enumerate(lists):
        conditions = [_build_condition(listed, coded, f"{place}/{rank}") for rank, coded in enumerate(listed.codes)]
        resources = [*conditions, _build_provenance(listed, conditions, str(place))] if conditions else []
        entries += [{"fullUrl": f"urn:uuid:{resource['id']}", "resource": resource} for resource in resources]
    now = _write_time(datetime.datetime.now(datetime.UTC))
    bundle = {"resourceType": "Bundle", "type": "collection", "timestamp": now, **({"entry": entries} if entries else {})}
    Bundle.model_validate(bundle)
    return bundle


def _build_condition(listed: WrittenList, coded: WrittenCode, place: str) -> dict[str, Any]:
    patient, encounter = listed.subject
    coding = {"system": SYSTEM, "version": listed.release, "code": coded.code, "display": coded.title}
    status = "confirmed" if listed.reviewed else "unconfirmed"
    # a logical reference, for whoever knows which text it was
    subject = (
        {"reference": patient} if patient else {"identifier": {"system": "urn:icdtune:request", "value": listed.request_id}}
    )
    return {
        "resourceType": "Condition",
        "id": _name_resource(listed, place),
        "meta": _build_meta(listed),
        "verificationStatus": {"coding": [{"system": _STATUS, "code": status}]},
        "category": [{"coding": [{"system": _CATEGORY, "code": "encounter-diagnosis", "display": "Encounter Diagnosis"}]}],
        "code": {"coding": [coding]},
        "subject": subject,
        **({"encounter": {"reference": encounter}} if encounter else {}),
        "recordedDate": _write_time(listed.recorded),
        **({"note": [{"text": text} for text in coded.texts]} if coded.texts else {}),
    }


def _build_provenance(listed: WrittenList, conditions: Sequence[dict[str, Any]], place: str) -> dict[str, Any]:
    model = f"ICDTune model {listed.model.name}" if listed.model else "ICDTune"
    who: dict[str, Any] = {"display": "a reviewer" if listed.reviewed else model}
    if listed.model and listed.model.sha256 and not listed.reviewed:
        who["identifier"] = {"system": "urn:icdtune:model-sha256", "value": listed.model.sha256}
    role = {"coding": [{"system": _AGENT, "code": "verifier" if listed.reviewed else "assembler"}]}
    return {
        "resourceType": "Provenance",
        "id": _name_resource(listed, f"{place}/provenance"),
        "meta": _build_meta(listed),
        "target": [{"reference": f"urn:uuid:{condition['id']}"} for condition in conditions],
        "recorded": _write_time(listed.recorded),
        "agent": [{"type": role, "who": who}],
    }


def _build_meta(listed: WrittenList) -> dict[str, Any]:
    if listed.reviewed:
        return {"tag": [REVIEWED]}
    asserted = {"system": _OBSERVED, "code": "AIAST", "display": "Artificial Intelligence asserted"}
    return {"security": [asserted], "tag": [UNREVIEWED]}


def _name_resource(listed: WrittenList, place: str) -> str:
    return str(uuid.uuid5(_NAMES, f"{listed.request_id}/{place}"))


def _write_time(moment: datetime.datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
