"""Whatever is sent: valid codes or a clear 4xx, no text of another request, no text in errors and logs."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from api_client import ServedApi, read_error, serve_api
from hostile_bodies import list_hostile
from upstream_server import start_upstream

from icd10cm import CodeSet
from serving.api.bodies import read_json
from serving.api.errors import ApiError

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApi]:
    with start_upstream() as upstream, serve_api(tmp_path_factory.mktemp("audit"), upstream.url) as served:
        yield served


@pytest.fixture(scope="module")
def adversarial() -> ModuleType:
    """The benchmark that sends 10,000 of them to a real vLLM."""
    sys.path.insert(0, str(BENCHMARKS))
    spec = importlib.util.spec_from_file_location("serving_adversarial", BENCHMARKS / "serving_adversarial.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.path.remove(str(BENCHMARKS))
    return module


def test_adversarial_inputs_get_codes_or_a_clear_refusal(
    api: ServedApi, adversarial: ModuleType, codes: CodeSet, capfd: pytest.CaptureFixture, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    cases = list(adversarial.make_cases(208, seed=3, largest=60_000))
    statuses, faults = asyncio.run(adversarial.send_all(api.url, iter(cases), codes, clients=64))
    assert not faults, [(case.kind, case.path, fault, case.body[:200]) for case, fault in faults[:5]]
    assert sum(count.total() for count in statuses.values()) == 208 and set(statuses) == set(adversarial.KINDS)
    assert set(statuses["honest"]) == {"200"} and "200" not in statuses["binary"]
    logged = capfd.readouterr().err + caplog.text + api.audit_file.read_text()
    assert "INFO" in logged and not adversarial.MARKER.findall(logged)


def test_the_check_of_answers_would_find_every_fault(adversarial: ModuleType, codes: CodeSet) -> None:
    case = adversarial.Case("honest", "/v1/completions", "zq0123456789abcdefqz", b"{}")

    def find(status: int, content: object, kind: str = "application/json") -> list[str]:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        return adversarial.find_faults(case, status, kind, body, codes)

    good = {"choices": [{"text": "I10, E11.9", "finish_reason": "stop"}]}
    error = {"error": {"message": "no", "code": 400, "request_id": "1"}}
    assert find(200, good) == find(400, error) == []
    assert find(200, {"choices": [{"text": "I10, E11.9, ", "finish_reason": "length"}]}) == []
    assert find(200, {"choices": [{"text": "I10, E99", "finish_reason": "stop"}]}) == ["holds an invalid code"]
    assert find(200, {"choices": [{"text": "hello", "finish_reason": "stop"}]}) == ["holds an invalid code"]
    assert find(200, good | {"x": "zqfedcba9876543210qz"}) == ["holds another request's text"]
    assert find(503, error) == ["status 503"] and find(422, b"<html>") == ["error of another shape"]
    assert find(400, {"error": {"message": case.marker, "code": 400, "request_id": "1"}}) == ["error repeats what was sent"]
    assert find(200, b'data: {"choices": [{"text": "X"}]}\n\ndata: [DONE]\n', "text/event-stream") == ["holds an invalid code"]


def test_what_breaks_servers_breaks_nothing_here(api: ServedApi) -> None:
    for request in list_hostile()[::3]:
        for path in (request.path, "/v1/coding"):
            reply = api.client.post(path, content=request.body, headers={"Content-Type": request.kind})
            assert reply.status_code < 500, (path, request.body[:200], reply.text)
            if reply.status_code != 200:
                read_error(reply)


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 400, "JSON"),
        (b"{", 400, "JSON"),
        (b"\xff\xfe", 400, "UTF-8"),
        ('{"text": "ä"}'.encode("latin-1"), 400, "UTF-8"),
        (b'{"text": "x", "age": NaN}', 400, "JSON"),
        (b'{"text": "x", "age": 1e999}', 400, "too large"),
        (b'{"text": "x\\ud800"}', 400, "surrogate"),
        (b'{"\\udc00": "x"}', 400, "surrogate"),
        (b'{"text": "x\\u0000"}', 422, "NUL"),
        (b"[" * 100_000, 400, "nested"),
        (b'{"text": ' + b"[" * 200 + b"]" * 200 + b"}", 400, "nested"),
        (b'{"text": "x", "age": ' + b"9" * 5000 + b"}", 400, "JSON"),
        (b'\xef\xbb\xbf{"text": "x"}', 400, "JSON"),
        (b"[]", 400, "object"),
        (b'"x"', 400, "object"),
        (b"{}", 422, "text"),
        (b'{"text": ""}', 422, "text"),
        (b'{"text": " \\n"}', 422, "text"),
        (b'{"text": "x", "age": "5"}', 422, "age"),
        (b'{"text": "x", "evidence": "yes"}', 422, "evidence"),
        (b'{"text": "x", "service_date": 0}', 422, "service_date"),
        (b'{"text": "x", "service_date": "1999-01-01"}', 422, "2015"),
        (b'{"text": "x", "txet": 1}', 422, "unknown key"),
        (b'{"text": "x", "model": "nobody"}', 404, "no such model"),
        (b'{"text": "' + b"x" * 1_000_001 + b'"}', 422, "text"),
    ],
)
def test_malformed_requests_are_told_what_is_wrong(body: bytes, status: int, message: str, api: ServedApi) -> None:
    reply = api.client.post("/v1/coding", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == status and message in read_error(reply)


def test_a_backslash_is_no_nul_and_a_whole_pair_no_half(api: ServedApi) -> None:
    texts = ["C:\\u0000", "🦠", "a\\ud800"]
    assert [read_json(json.dumps({"text": text}).encode())["text"] for text in texts] == texts
    assert (
        api.client.post(
            "/v1/coding", content=json.dumps({"text": "🦠 gout"}), headers={"Content-Type": "application/json"}
        ).status_code
        == 200
    )
    with pytest.raises(ApiError):
        read_json(b'{"a": "\\uDBFF"}')


def test_only_json_is_read(api: ServedApi) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/jsonx"):
        reply = api.client.post("/v1/coding", content=b'{"text": "gout"}', headers={"Content-Type": kind})
        assert reply.status_code == 415, kind
    kind = "Application/JSON; charset=utf-8"
    assert api.client.post("/v1/coding", content=b'{"text": "gout"}', headers={"Content-Type": kind}).status_code == 200


def test_no_query_and_no_path_is_logged(api: ServedApi, capfd: pytest.CaptureFixture) -> None:
    api.client.get("/v1/codes?query=Zwetschgenbaum")
    api.client.get("/v1/codes/Zwetschgen")
    api.client.get("/Zwetschgenbaum")
    api.client.request("ZWETSCHGEN", "/v1/coding")
    logged = capfd.readouterr().err
    assert "GET /v1/codes 200" in logged and "GET /v1/codes/{code} 404" in logged and "zwetschge" not in logged.lower()


def test_libraries_keep_silent_even_when_told_to_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    from serving.api.logs import set_up_logs

    monkeypatch.setenv("OPENAI_LOG", "debug")
    logging.getLogger("httpx").setLevel(logging.DEBUG)
    set_up_logs(access_log=True)
    for name in ("openai._base_client", "httpx", "httpcore.http11", "uvicorn.access"):
        assert not logging.getLogger(name).isEnabledFor(logging.INFO)
