"""The coding API as its clients see it: every route, in front of a real model server, over real connections."""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from api_client import ServedApi, read_error, serve_api
from upstream_server import MODEL, SHA256, UpstreamServer

from icd10cm import CodeSet
from serving.audit.command import list_files
from serving.audit.verify import verify
from serving.coding.models import NOTICE, CodingResponse

TEXT = "T2DM w/ foot ulcer, HTN. Denies chest pain."


@pytest.fixture(scope="module")
def api(upstream: UpstreamServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApi]:
    with serve_api(tmp_path_factory.mktemp("audit"), upstream.url) as served:
        yield served


def read_records(api: ServedApi) -> list[dict]:
    return [json.loads(line) for line in api.audit_file.read_text().splitlines()]


def test_a_text_is_coded_and_recorded(api: ServedApi, upstream: UpstreamServer, codes: CodeSet) -> None:
    reply = api.client.post("/v1/coding", json={"text": TEXT, "id": "note 7"})
    answer = CodingResponse.model_validate_json(reply.content, strict=True)
    assert [coded.code for coded in answer.codes] == upstream.answer(TEXT)
    assert all(coded.title == codes.title(coded.code) for coded in answer.codes)
    assert (answer.id, answer.request_id, answer.model.sha256) == ("note 7", reply.headers["x-request-id"], SHA256)
    record = read_records(api)[-1]
    assert (record["kind"], record["request_id"], record["key"]) == ("coding", answer.request_id, "local")
    assert record["codes"] == [{"code": coded.code, "confidence": coded.confidence} for coded in answer.codes]
    assert (record["model"], record["model_sha256"], record["release"]) == (MODEL, SHA256, codes.release)
    assert verify([api.audit_file]).ok


def test_the_log_tells_equal_requests_from_others_and_holds_no_text(api: ServedApi) -> None:
    for text in ("gout", "gout", "copd"):
        assert api.client.post("/v1/coding", json={"text": text}).status_code == 200
    hashes = [record["request_hash"] for record in read_records(api)[-3:]]
    assert hashes[0] == hashes[1] != hashes[2]
    assert "gout" not in api.audit_file.read_text().lower()


def test_many_at_once_get_the_answers_that_each_gets_alone(api: ServedApi, upstream: UpstreamServer) -> None:
    texts = [f"patient number {number} with gout" for number in range(60)]
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        replies = list(pool.map(lambda text: api.client.post("/v1/coding", json={"text": text, "id": text}).json(), texts))
    assert [reply["id"] for reply in replies] == texts
    assert [[one["code"] for one in reply["codes"]] for reply in replies] == [upstream.answer(text) for text in texts]
    verdict = verify([api.audit_file])
    assert verdict.ok and verdict.n_records >= 60


def test_a_batch_keeps_the_order_and_the_failures_apart(api: ServedApi, upstream: UpstreamServer) -> None:
    items = [{"text": f"case {number}", "id": str(number)} for number in range(20)]
    items[3]["model"] = "nobody"
    reply = api.client.post("/v1/coding/batch", json={"items": items})
    results = reply.json()["results"]
    assert [result["id"] for result in results] == [item["id"] for item in items]
    assert results[3]["status"] == 404 and "nobody" not in results[3]["error"]
    assert [one["code"] for one in results[4]["codes"]] == upstream.answer("case 4")
    assert len({result["request_id"] for result in results}) == 20


def test_a_batch_as_lines_comes_as_it_is_finished(api: ServedApi, upstream: UpstreamServer) -> None:
    items = [{"text": f"case {number}"} for number in range(10)] + [{"text": "gout", "model": "nobody"}]
    with api.client.stream(
        "POST", "/v1/coding/batch", json={"items": items}, headers={"Accept": "application/x-ndjson"}
    ) as reply:
        assert reply.headers["content-type"] == "application/x-ndjson"
        rows = [json.loads(line) for line in reply.iter_lines()]
    assert sorted(row["index"] for row in rows) == list(range(11))
    for row in rows:
        if row["index"] == 10:
            assert row["status"] == 404
        else:
            assert [one["code"] for one in row["codes"]] == upstream.answer(items[row["index"]]["text"])


def test_codes_are_found_shown_and_checked(api: ServedApi) -> None:
    hits = api.client.get("/v1/codes", params={"query": "T2DM foot ulcer", "limit": 3}).json()["hits"]
    assert hits[0]["code"] == "E11.621" and len(hits) == 3
    entry = api.client.get("/v1/codes/e11621").json()
    assert entry["billable"] and entry["category"] == "E11" and entry["chapter"] == 4
    assert {
        "node": "E11.621",
        "kind": "use_additional_code",
        "text": "code to identify site of ulcer (L97.4-, L97.5-)",
    } in entry["notes"]
    assert api.client.get("/v1/codes/S52").json()["billable"] is False
    assert read_error(api.client.get("/v1/codes/nope")) == "release 2026 has no such code"
    checked = api.client.post("/v1/check", json={"codes": ["E11.9", "E10.9", "nope"], "sex": "F"}).json()
    assert {finding["rule"] for finding in checked["findings"]} == {"excludes1", "not_in_release"}
    assert checked["codes"][2] == {"code": "NOP.E", "title": None, "billable": False}
    male = api.client.post("/v1/check", json={"codes": ["O80"], "sex": "M", "service_date": "2026-01-05"}).json()
    assert "sex" in {finding["rule"] for finding in male["findings"]}


def test_decisions_go_into_the_log(api: ServedApi) -> None:
    decided = [
        {"code": "E11.621", "decision": "accepted", "confidence": 0.9},
        {"code": "I10", "decision": "rejected"},
        {"code": "N18.9", "decision": "replaced", "replacement": "N18.30"},
        {"code": "Z79.4", "decision": "added"},
    ]
    body = {"request_id": "a" * 32, "decisions": decided, "final_codes": ["E11.621", "N18.30", "Z79.4"], "reviewer": "coder 7"}
    reply = api.client.post("/v1/decisions", json=body).json()
    record = read_records(api)[-1]
    assert (record["sequence"], record["hash"]) == (reply["sequence"], reply["hash"])
    assert record["final_codes"] == body["final_codes"] and record["reviewer"] == "coder 7" and record["decisions"] == decided
    assert verify([api.audit_file], head=reply["hash"]).ok


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"final_codes": ["I10"]}, "final_codes are not the codes"),
        ({"final_codes": ["E11.9", "E11.9"]}, "twice"),
        ({"final_codes": ["E11"]}, "no billable code"),
        ({"decisions": [{"code": "E11.9", "decision": "replaced"}]}, "go together"),
        ({"request_id": "../etc"}, "request_id"),
    ],
)
def test_decisions_that_do_not_fit_are_refused(api: ServedApi, change: dict, complaint: str) -> None:
    body = {"request_id": "a" * 32, "decisions": [{"code": "E11.9", "decision": "accepted"}], "final_codes": ["E11.9"]}
    before = len(read_records(api))
    reply = api.client.post("/v1/decisions", json=body | change)
    assert reply.status_code == 422 and complaint in read_error(reply)
    assert len(read_records(api)) == before


def test_openai_clients_work_through_it(api: ServedApi, upstream: UpstreamServer) -> None:
    client = openai.OpenAI(base_url=f"{api.url}/v1", api_key="none", max_retries=0)
    expected = ", ".join(upstream.answer("gout"))
    assert client.models.list().data[0].id == MODEL
    assert client.completions.create(model=MODEL, prompt="gout").choices[0].text == expected
    question = [{"role": "user", "content": "gout"}]
    assert client.chat.completions.create(model=MODEL, messages=question).choices[0].message.content == expected
    events = client.chat.completions.create(model=MODEL, messages=question, stream=True)
    assert "".join(event.choices[0].delta.content for event in events) == expected

    async def ask() -> str:
        async with openai.AsyncOpenAI(base_url=f"{api.url}/v1", api_key="none", max_retries=0) as other:
            events = await other.completions.create(model=MODEL, prompt="gout", stream=True)
            return "".join([event.choices[0].text async for event in events])

    assert asyncio.run(ask()) == expected
    with pytest.raises(openai.NotFoundError) as caught:
        client.completions.create(model="other", prompt="gout")
    assert caught.value.body["message"] == "The model `other` does not exist."


def test_streams_are_passed_on_piece_by_piece(api: ServedApi, upstream: UpstreamServer) -> None:
    upstream.delay = 0.4
    try:
        started = time.monotonic()
        with api.client.stream("POST", "/v1/completions", json={"prompt": "gout", "stream": True}) as reply:
            lines = ((time.monotonic() - started, line) for line in reply.iter_lines() if line)
            times = [seconds for seconds, _ in lines]
    finally:
        upstream.delay = 0.0
    assert times[0] < 0.4 < times[1] < times[-1]


def test_it_says_what_it_is(api: ServedApi, codes: CodeSet) -> None:
    about = api.client.get("/v1/about").json()
    assert (about["models"], about["release"], about["key_required"], about["notice"]) == (
        [MODEL],
        codes.release,
        False,
        NOTICE,
    )
    assert about["limits"]["batch_items"] == 100
    assert api.client.get("/healthz").json() == api.client.get("/readyz").json() == {"status": "ok"}


def test_metrics_count_what_happened(api: ServedApi) -> None:
    def read() -> dict[str, float]:
        lines = [line for line in api.client.get("/metrics").text.splitlines() if not line.startswith("#")]
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}

    before = read()
    n_codes = len(api.client.post("/v1/coding", json={"text": TEXT, "threshold": 0}).json()["codes"])
    assert api.client.post("/v1/coding", json={"text": TEXT, "threshold": 1}).json()["abstained"]
    api.client.post("/v1/coding", json={})
    after = read()

    def grown(name: str) -> float:
        return after[name] - before.get(name, 0)

    assert grown('icdtune_requests_total{method="POST",route="/v1/coding",status="200"}') == 2
    assert grown('icdtune_requests_total{method="POST",route="/v1/coding",status="422"}') == 1
    assert grown("icdtune_codes_total") == n_codes and grown("icdtune_abstentions_total") == 1
    assert grown('icdtune_audit_records_total{kind="coding"}') == 2
    assert grown('icdtune_request_seconds_count{route="/v1/coding"}') == 3
    assert after["icdtune_upstream_up"] == 1 and after["icdtune_in_flight"] == 1


def test_the_page_and_its_headers(api: ServedApi) -> None:
    page = api.client.get("/")
    assert page.status_code == 200 and page.headers["content-type"] == "text/html; charset=utf-8"
    for reply in (page, api.client.get("/nowhere"), api.client.get("/v1/about")):
        policy = reply.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert (reply.headers["x-content-type-options"], reply.headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert api.client.get("/v1/about").headers["cache-control"] == "no-store"
    assert api.client.get("/../pyproject.toml").status_code == api.client.get("/%2e%2e/pyproject.toml").status_code == 404
    assert api.client.post("/").status_code == 405


def test_curl_as_the_documents_show_it(api: ServedApi, upstream: UpstreamServer) -> None:
    command = [
        "curl",
        "-sS",
        f"{api.url}/v1/coding",
        "-H",
        "Content-Type: application/json",
        "-d",
        json.dumps({"text": "gout"}),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert [one["code"] for one in json.loads(done.stdout)["codes"]] == upstream.answer("gout")


def test_who_leaves_is_not_waited_for(api: ServedApi, upstream: UpstreamServer) -> None:
    before = len(read_records(api))
    upstream.mode, upstream.delay = "slow", 1.5
    try:
        with pytest.raises(httpx.ReadTimeout):
            api.client.post("/v1/coding", json={"text": "copd"}, timeout=0.2)
        deadline = time.monotonic() + 1.2
        # a counter is to be seen at 0 before it is raised
        left = 'route="/v1/coding",status="499"} 1.0'
        while left not in (counts := api.service.metrics.write().decode()) and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        upstream.mode, upstream.delay = "well", 0.0
    assert left in counts and "icdtune_in_flight 0.0" in counts
    assert len(read_records(api)) == before


def test_settings_are_heeded(upstream: UpstreamServer, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    chosen = {"openai_routes": False, "access_log": False, "threshold": 1.0, "audit_max_bytes": 600, "long_text": "truncate"}
    with serve_api(tmp_path, upstream.url, **chosen) as api:
        capfd.readouterr()
        about = api.client.get("/v1/about").json()
        assert (about["threshold"], about["long_text"], about["openai_routes"]) == (1.0, "truncate", False)
        assert api.client.post("/v1/completions", json={"prompt": "gout"}).status_code == 404
        answer = api.client.post("/v1/coding", json={"text": "gout " * 3000, "evidence": False}).json()
        assert answer["abstained"] and answer["candidates"] and answer["truncated"] and answer["n_parts"] == 1
        for _ in range(3):
            api.client.post("/v1/coding", json={"text": "gout"})
        assert not capfd.readouterr().err
    assert len(list_files(tmp_path)) >= 2 and verify(list_files(tmp_path)).ok
