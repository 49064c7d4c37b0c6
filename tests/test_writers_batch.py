"""The Batch API against a real HTTP server: submit, leave, come back, collect; killed anywhere, nothing is submitted twice."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_server import ApiServer, start_api
from writer_runs import COST, ENVIRONMENT, ROOT, N, call, hash_data, read_rejected, read_rows, read_store, write_config

TRY_LATER = 75


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with start_api() as server:
        yield server


def test_submit_leave_come_back_collect(api: ApiServer, tmp_path: Path) -> None:
    config = write_config(tmp_path, api)
    done = call(config, "--batch")
    assert done.returncode == TRY_LATER and "batch-0: submitted, 6 requests" in done.stderr
    assert call(config, "--batch").returncode == TRY_LATER, "still under way"
    assert len(api.batches) == 1 and not (tmp_path / "data").exists()
    assert api.batches["batch-0"]["completion_window"] == "24h"
    api.finish_batches()
    done = call(config, "--batch")
    assert done.returncode == 0, done.stderr
    assert len(read_store(tmp_path)) == N and set(api.paid.values()) == {1} and not api.sent
    header = json.loads((tmp_path / "data" / "run.json").read_text())
    assert header["llm"]["cost_usd"] == pytest.approx(N * COST / 2), "half the price"
    assert [row for row in read_rows(tmp_path) if row["source"] == "llm:writer"]
    other = tmp_path / "online"
    other.mkdir()
    call(write_config(other, api))
    assert hash_data(other) == hash_data(tmp_path), "the same answers give the same data, however they came"


def test_what_an_expired_batch_left_open_is_submitted_again_and_nothing_else(api: ApiServer, tmp_path: Path) -> None:
    config = write_config(tmp_path, api)
    call(config, "--batch")
    api.finish_batches("expired", share=0.5)
    done = call(config, "--batch")
    assert done.returncode == TRY_LATER and "batch-1: submitted, 3 requests" in done.stderr
    assert len(read_store(tmp_path)) == 3
    api.finish_batches()
    assert call(config, "--batch").returncode == 0
    assert len(read_store(tmp_path)) == N and set(api.paid.values()) == {1}


def test_rejects_of_a_batch_get_their_second_attempt_and_refused_texts_none(api: ApiServer, tmp_path: Path) -> None:
    config = write_config(tmp_path, api, {"attempts": 2})
    call(config, "--batch")
    api.fault = lambda body, _number: (
        "truncated" if "chronic kidney" in body["messages"][1]["content"] else
        "refused" if "nephropathy" in body["messages"][1]["content"] else ""
    )  # fmt: skip
    api.finish_batches()
    done = call(config, "--batch")
    assert done.returncode == TRY_LATER and "batch-1: submitted, 2 requests" in done.stderr
    api.fault = lambda _body, _number: ""
    api.finish_batches()
    assert call(config, "--batch").returncode == 0
    reasons = {(row["code"], row["reason"].split(":")[0]) for row in read_rejected(tmp_path) if row["reason"][:5] != "text "}
    assert reasons == {("E11.22", "truncated"), ("E11.21", "HTTP 400")}


def test_killed_while_submitting_and_collecting(api: ApiServer, tmp_path: Path) -> None:
    config = write_config(tmp_path, api)
    command = [sys.executable, "-m", "data_gen.generate", "--config", str(config), "--batch"]

    def kill_when(ready) -> None:
        process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
        while not ready() and process.poll() is None:
            time.sleep(0.0005)
        process.kill()
        process.wait()

    api.hold_batch_reply = True
    kill_when(lambda: api.batches)
    api.hold_batch_reply = False
    assert len(api.batches) == 1 and [record["state"] for record in read_store(tmp_path, "batch")] == ["submitting"]
    assert call(config, "--batch").returncode == TRY_LATER
    assert len(api.batches) == 1, "found again by its label, not submitted twice"
    api.finish_batches()
    kill_when(lambda: (tmp_path / "data_answers" / "answers.jsonl").read_bytes().count(b'"kind": "answer"') >= 2)
    assert call(config, "--batch").returncode == 0
    keys = [record["key"] for record in read_store(tmp_path)]
    assert len(keys) == len(set(keys)) == N and set(api.paid.values()) == {1} and len(api.batches) == 1


def test_neither_way_pays_for_what_the_other_paid_for(api: ApiServer, tmp_path: Path) -> None:
    config = write_config(tmp_path, api, {"timeout": 0.5, "retries": 0})
    api.fault, api.list_fault = lambda _body, _number: "cut", 503
    assert call(config).returncode == 2
    lost = set(api.paid)
    api.list_fault = 0
    done = call(config, "--batch")
    assert done.returncode == TRY_LATER and f"submitted, {N - len(lost)} requests" in done.stderr, done.stderr
    done = call(config)
    assert done.returncode == 2 and "1 batches are under way" in done.stderr and sum(api.sent.values()) == len(lost)
    api.fault = lambda _body, _number: ""
    api.finish_batches()
    assert call(config, "--batch").returncode == 0
    assert len(lost) > 0 and set(api.paid.values()) == {1} and len(api.paid) == N == len(read_store(tmp_path))


def test_a_batch_that_was_never_created_is_submitted_again(api: ApiServer, tmp_path: Path) -> None:
    config = write_config(tmp_path, api)
    api.lose_batch_reply = True
    done = call(config, "--batch")
    assert done.returncode == 2 and "run the same command again" in done.stderr
    api.lose_batch_reply = False
    api.batches.clear()
    done = call(config, "--batch")
    assert done.returncode == TRY_LATER and len(api.batches) == 1, done.stderr


def test_the_budget_holds_back_what_does_not_fit(api: ApiServer, tmp_path: Path) -> None:
    config = write_config(tmp_path, api, max_cost_usd=0.01)
    done = call(config, "--batch")
    assert done.returncode == TRY_LATER and "not all is submitted: stopped at max_cost_usd 0.01" in done.stderr
    (first,) = (len(record["most"]) for record in read_store(tmp_path, "batch") if "most" in record)
    assert 0 < first < N
    api.finish_batches()
    for _ in range(N):
        done = call(config, "--batch")
        if done.returncode != TRY_LATER:
            break
        api.finish_batches()
    # every answer costs less than it could have, so what was held back fits in the end
    assert done.returncode == 0 and len(read_store(tmp_path)) == N, done.stderr
    assert set(api.paid.values()) == {1} and N * COST / 2 <= 0.01


def test_a_budget_too_small_for_one_request_submits_nothing(api: ApiServer, tmp_path: Path) -> None:
    done = call(write_config(tmp_path, api, max_cost_usd=0.0001), "--batch")
    assert done.returncode == 2 and "stopped at max_cost_usd 0.0001" in done.stderr and not api.batches


def test_a_batch_that_the_server_fails_is_one_line(api: ApiServer, tmp_path: Path) -> None:
    config = write_config(tmp_path, api)
    call(config, "--batch")
    api.finish_batches("failed", share=0)
    done = call(config, "--batch")
    assert done.returncode == 2 and "batch-0 failed" in done.stderr and "Traceback" not in done.stderr
