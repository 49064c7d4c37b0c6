"""FHIR and CSV: what FHIR's own rules accept, and what a spreadsheet does not compute."""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Iterator

import pytest
from api_client import ServedApi, serve_api
from upstream_server import SHA256, UpstreamServer

from icd10cm import CodeSet
from serving.api.exporting import guard_cell, write_csv
from serving.api.fhir_bundle import SYSTEM, Subject, build_bundle
from serving.api.written import WrittenCode, WrittenList

NOTE = "Type 2 DM with foot ulcer, hypertension"
REQUEST = "0" * 32


@pytest.fixture(scope="module")
def api(upstream: UpstreamServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApi]:
    with serve_api(tmp_path_factory.mktemp("audit"), upstream.url) as served:
        yield served


def read_bundle(content: bytes) -> tuple[list[dict], dict]:
    """Return Conditions and Provenance of a Bundle that FHIR's models accept."""
    from fhir.resources.R4B.bundle import Bundle
    from fhir.resources.R4B.condition import Condition

    bundle = Bundle.model_validate_json(content)
    assert bundle.type == "collection"
    resources = [entry["resource"] for entry in json.loads(content)["entry"]]
    conditions = [one for one in resources if one["resourceType"] == "Condition"]
    for condition in conditions:
        Condition.model_validate(condition)
    (provenance,) = (one for one in resources if one["resourceType"] == "Provenance")
    urls = {entry["fullUrl"] for entry in json.loads(content)["entry"]}
    assert {target["reference"] for target in provenance["target"]} <= urls and len(urls) == len(resources)
    return conditions, provenance


def test_codes_of_a_model_are_unconfirmed_and_say_who_wrote_them(
    api: ServedApi, upstream: UpstreamServer, codes: CodeSet
) -> None:
    reply = api.client.post("/v1/coding?format=fhir", json={"text": NOTE})
    assert reply.headers["content-type"] == "application/fhir+json"
    conditions, provenance = read_bundle(reply.content)
    written = [condition["code"]["coding"][0] for condition in conditions]
    assert [coding["code"] for coding in written] == upstream.answer(NOTE)
    assert all(coding["system"] == SYSTEM == "http://hl7.org/fhir/sid/icd-10-cm" for coding in written)
    assert all(coding["display"] == codes.title(coding["code"]) for coding in written)
    for condition in conditions:
        assert condition["verificationStatus"]["coding"][0]["code"] == "unconfirmed"
        assert condition["category"][0]["coding"][0]["code"] == "encounter-diagnosis"
        assert condition["meta"]["tag"][0]["code"] == "unreviewed" and condition["meta"]["security"][0]["code"] == "AIAST"
        assert condition["subject"]["identifier"]["value"] == reply.headers["x-request-id"] and "note" not in condition
        datetime.datetime.fromisoformat(condition["recordedDate"])
    assert provenance["agent"][0]["who"]["identifier"]["value"] == SHA256
    assert "foot ulcer, hyper" not in reply.text


def test_words_of_the_text_are_there_only_when_asked_for(api: ServedApi) -> None:
    conditions, _ = read_bundle(api.client.post("/v1/coding?format=fhir&include_text=true", json={"text": "gout"}).content)
    assert [note["text"] for condition in conditions for note in condition["note"]] == ["gout"] * len(conditions)


def test_a_reviewers_codes_are_confirmed(api: ServedApi) -> None:
    listed = {"request_id": REQUEST, "codes": ["E11.621", "I10"], "subject": "Patient/123", "encounter": "Encounter/9"}
    conditions, provenance = read_bundle(api.client.post("/v1/export", json={"items": [listed]}).content)
    for condition in conditions:
        assert condition["verificationStatus"]["coding"][0]["code"] == "confirmed"
        assert condition["subject"] == {"reference": "Patient/123"} and condition["encounter"] == {"reference": "Encounter/9"}
        assert condition["meta"]["tag"][0]["code"] == "reviewed" and "security" not in condition["meta"]
    assert provenance["agent"][0]["type"]["coding"][0]["code"] == "verifier"
    unreviewed = api.client.post("/v1/export", json={"items": [listed | {"reviewed": False}]})
    assert read_bundle(unreviewed.content)[0][0]["verificationStatus"]["coding"][0]["code"] == "unconfirmed"


def test_only_billable_codes_leave(api: ServedApi) -> None:
    for wrong in ("E11", "X99.99", "e11.621", "=1+1"):
        reply = api.client.post("/v1/export", json={"items": [{"request_id": REQUEST, "codes": [wrong]}]})
        assert reply.status_code == 422 and wrong not in reply.text
    for subject in ("javascript:alert(1)", "Patient/1 2", "http://evil.example/Patient/1"):
        listed = {"request_id": REQUEST, "codes": ["I10"], "subject": subject}
        assert api.client.post("/v1/export", json={"items": [listed]}).status_code == 422


def test_a_bundle_without_codes_is_one(codes: CodeSet) -> None:
    from fhir.resources.R4B.bundle import Bundle

    now = datetime.datetime.now(datetime.UTC)
    bundle = build_bundle([WrittenList(REQUEST, None, (), codes.release, False, now, Subject())])
    assert Bundle.model_validate(bundle).entry is None and "entry" not in bundle


def test_what_fhir_does_not_allow_is_not_sent(codes: CodeSet) -> None:
    now = datetime.datetime.now(datetime.UTC)
    empty = WrittenList(REQUEST, None, (WrittenCode("", ""),), codes.release, False, now, Subject())
    with pytest.raises(ValueError, match="code"):
        build_bundle([empty])


def test_csv_is_read_back_as_it_was_meant(api: ServedApi, upstream: UpstreamServer, codes: CodeSet) -> None:
    name = '=HYPERLINK("http://evil.example"),\n"x"'
    reply = api.client.post("/v1/coding?format=csv", json={"text": NOTE, "id": name})
    assert reply.headers["content-type"].startswith("text/csv") and reply.content.endswith(b"\r\n")
    rows = list(csv.DictReader(io.StringIO(reply.text, newline="")))
    assert [row["code"] for row in rows] == upstream.answer(NOTE)
    assert [row["title"] for row in rows] == [codes.title(row["code"]) for row in rows]
    assert {row["id"] for row in rows} == {f"'{name}"} and {row["reviewed"] for row in rows} == {"false"}


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "|x", "%x", "\n=1"])
def test_no_cell_is_a_formula(text: str, codes: CodeSet) -> None:
    now = datetime.datetime.now(datetime.UTC)
    listed = WrittenList(REQUEST, text, (WrittenCode("I10", text),), codes.release, True, now, Subject())
    row = next(csv.DictReader(io.StringIO(write_csv([listed]), newline="")))
    assert row["id"] == row["title"] == f"'{text}" == guard_cell(text)
    assert guard_cell("Type 2 diabetes") == "Type 2 diabetes"
