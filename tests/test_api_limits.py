"""What the API refuses when there is too much of it, and what it says when the model server is slow, broken or gone."""

from __future__ import annotations

import concurrent.futures
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_client import ServedApi, read_error, serve_api
from processes import wait_for
from upstream_server import UpstreamServer, start_upstream

from serving.audit.verify import verify

SECRET = "Mr Zwetschgenbaum has a foot ulcer"
QUESTIONS = (
    ("/v1/coding", {"text": SECRET}),
    ("/v1/completions", {"prompt": SECRET}),
    ("/v1/chat/completions", {"messages": [{"role": "user", "content": SECRET}]}),
)


@pytest.fixture(scope="module")
def api(upstream: UpstreamServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedApi]:
    limits = {"max_body_bytes": 50_000, "max_batch": 5, "request_timeout": 2.0, "max_in_flight": 8}
    with serve_api(tmp_path_factory.mktemp("audit"), upstream.url, **limits) as served:
        # the first text takes longer, and may take too long for this limit
        wait_for(lambda: served.client.post("/v1/coding", json={"text": "gout"}).status_code == 200)
        yield served


@pytest.fixture(autouse=True)
def behave_again(upstream: UpstreamServer) -> Iterator[None]:
    yield
    upstream.mode, upstream.delay = "well", 0.0


def test_large_bodies_are_refused_whether_or_not_they_say_so(api: ServedApi) -> None:
    headers = {"Content-Type": "application/json"}
    for content in (b"x" * 60_000, (b"x" * 10_000 for _ in range(6))):
        reply = api.client.post("/v1/coding", content=content, headers=headers)
        assert reply.status_code == 413 and "50000 bytes" in read_error(reply)
    # one that says it is small and one that says it is huge, but never comes
    with socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2])), timeout=10) as line:
        line.sendall(b"POST /v1/coding HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9000000000\r\n\r\n")
        assert line.recv(100).startswith(b"HTTP/1.1 413")
    assert api.client.post("/v1/coding", json={"text": "gout"}).status_code == 200


def test_a_body_that_does_not_come_is_not_waited_for(api: ServedApi) -> None:
    with socket.create_connection(("127.0.0.1", int(api.url.rpartition(":")[2])), timeout=10) as line:
        line.sendall(
            b"POST /v1/coding HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        )
        assert line.recv(100).startswith(b"HTTP/1.1 408")


def test_large_batches_are_refused(api: ServedApi) -> None:
    reply = api.client.post("/v1/coding/batch", json={"items": [{"text": "gout"}] * 6})
    assert reply.status_code == 413 and "more than the 5" in read_error(reply)


def test_too_many_requests_a_minute_are_told_when_to_come_back(upstream: UpstreamServer, tmp_path: Path) -> None:
    with serve_api(tmp_path, upstream.url, requests_per_minute=10) as api:
        batch = api.client.post("/v1/coding/batch", json={"items": [{"text": "gout"}] * 8})
        assert batch.status_code == 200
        statuses = [api.client.get("/v1/codes?query=gout") for _ in range(4)]
        assert [reply.status_code for reply in statuses] == [200, 200, 429, 429]
        assert 1 <= int(statuses[-1].headers["retry-after"]) <= 60 and "10 texts" in read_error(statuses[-1])
        assert api.client.get("/healthz").status_code == 200


def test_too_many_at_once_are_told_to_come_back(api: ServedApi, upstream: UpstreamServer) -> None:
    upstream.mode, upstream.delay = "slow", 0.3
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        body = {"text": "gout", "evidence": False}
        replies = list(pool.map(lambda _: api.client.post("/v1/coding", json=body), range(20)))
    statuses = {reply.status_code for reply in replies}
    assert statuses == {200, 503}
    refused = next(reply for reply in replies if reply.status_code == 503)
    assert refused.headers["retry-after"] == "1" and "8 requests" in read_error(refused)


@pytest.mark.parametrize(
    ("mode", "status"),
    [("broken", 503), ("busy", 503), ("reset", 503), ("hang", 504), ("refuse", 502), ("garbage", 502), ("cut", 503)],
)
def test_what_the_model_server_does_wrong(
    mode: str, status: int, api: ServedApi, upstream: UpstreamServer, capfd: pytest.CaptureFixture
) -> None:
    before = verify([api.audit_file]).n_records
    upstream.mode = mode
    for path, body in QUESTIONS:
        # bytes that are no JSON are passed on as they are; one wait is enough for both of OpenAI's routes
        if (mode in ("garbage", "cut") and path != "/v1/coding") or (mode == "hang" and path == "/v1/completions"):
            continue
        reply = api.client.post(path, json=body)
        wanted = 400 if mode == "refuse" and path != "/v1/coding" else status
        assert reply.status_code == wanted, (path, reply.text)
        assert SECRET not in reply.text and "Zwetschgenbaum" not in read_error(reply)
        assert ("retry-after" in reply.headers) == (status in (503, 504))
    assert verify([api.audit_file]).n_records == before
    assert "Zwetschgenbaum" not in capfd.readouterr().err
    upstream.mode = "well"
    assert api.client.post("/v1/coding", json={"text": SECRET}).status_code == 200


def test_a_stream_that_breaks_off_does_not_look_finished(api: ServedApi, upstream: UpstreamServer) -> None:
    import httpx

    upstream.mode = "cut"
    with pytest.raises(httpx.RemoteProtocolError):
        api.client.post("/v1/completions", json={"prompt": "gout"})


def test_readiness_follows_the_model_server(api: ServedApi, upstream: UpstreamServer) -> None:
    assert api.client.get("/readyz").status_code == 200
    upstream.mode = "broken"
    time.sleep(1.1)
    down = api.client.get("/readyz")
    assert down.status_code == 503 and down.headers["retry-after"] == "5"
    assert "icdtune_upstream_up 0.0" in api.client.get("/metrics").text
    assert api.client.get("/healthz").status_code == 200


def test_a_model_server_that_dies_under_load_and_comes_back(tmp_path: Path) -> None:
    with start_upstream() as upstream, serve_api(tmp_path, upstream.url) as api:
        statuses: list[tuple[int, bool]] = []
        stop = threading.Event()

        def ask(number: int) -> None:
            while not stop.is_set():
                reply = api.client.post("/v1/coding", json={"text": f"gout {number}", "evidence": False})
                statuses.append((reply.status_code, "retry-after" in reply.headers))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        wait_for(lambda: statuses.count((200, False)) >= 20)
        upstream.kill()
        wait_for(lambda: statuses.count((503, True)) >= 20)
        seen = len(statuses)
        with start_upstream(upstream.port):
            wait_for(lambda: statuses[seen:].count((200, False)) >= 20)
            stop.set()
            for thread in threads:
                thread.join()
        assert set(statuses) == {(200, False), (503, True)}
        verdict = verify([api.audit_file])
        assert verdict.ok and verdict.n_records == 1 + statuses.count((200, False))


def test_it_starts_before_the_model_server(tmp_path: Path) -> None:
    with start_upstream() as first:
        port = first.port
    with serve_api(tmp_path, f"http://127.0.0.1:{port}/v1") as api:
        assert api.client.get("/readyz").status_code == 503 and api.client.get("/v1/about").json()["models"] == []
        assert api.client.post("/v1/coding", json={"text": "gout"}).status_code == 503
        with start_upstream(port):
            assert api.client.post("/v1/coding", json={"text": "gout"}).status_code == 200
            assert api.client.get("/v1/about").json()["models"] == ["icdtune"]
