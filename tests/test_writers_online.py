"""Texts from a language model, through the entry and a real HTTP server that misbehaves: nothing lost, nothing paid twice."""

from __future__ import annotations

import itertools
import json
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from api_server import SHARED, ApiServer, start_api
from writer_runs import COST, ENVIRONMENT, PRICES, ROOT, N, call, hash_data, read_rejected, read_rows, read_store, write_config


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with start_api() as server:
        yield server


def fail_first(fault: str) -> Callable[[dict, int], str]:
    """Every request fails the first time it is sent."""
    return lambda _body, number: fault if number == 1 else ""


def test_a_data_set_from_a_model_has_the_same_contract_and_a_rerun_asks_nothing(api: ApiServer, tmp_path: Path) -> None:
    done = call(write_config(tmp_path, api))
    assert done.returncode == 0, done.stderr
    rows = read_rows(tmp_path)
    sources = Counter((row["scenario"], row["source"]) for row in rows)
    assert sources["reordered", "llm:writer"] > 5 and sources["typo", "llm:writer"] > 5
    assert {source for scenario, source in sources if scenario in ("reordered", "typo")} == {"llm:writer"}
    assert {row["split"] for row in rows if row["source"] == "llm:writer"} == {"train", "validation", "test"}
    header = json.loads((tmp_path / "data" / "run.json").read_text())
    assert header["llm"]["answers"] == len(api.paid) == N and header["llm"]["writer_prompt_version"]
    assert header["llm"]["cost_usd"] == pytest.approx(N * COST)
    assert f"done={N}" in done.stderr and "cached=0" in done.stderr and f"spent=${N * COST:.4f}" in done.stderr
    first = hash_data(tmp_path)
    again = call(tmp_path / "llm.yaml")
    assert again.returncode == 0 and f"cached={N}" in again.stderr, again.stderr
    assert hash_data(tmp_path) == first and sum(api.sent.values()) == N


def test_the_request_asks_for_a_schema_and_names_the_title(api: ApiServer, tmp_path: Path) -> None:
    call(
        write_config(
            tmp_path, api, {"extra_body": {"top_p": 0.9}, "temperature": None, "max_tokens_key": "max_completion_tokens"}
        )
    )
    body = next(body for body in api.bodies if "diabetic nephropathy" in body["messages"][1]["content"])
    assert body["response_format"]["json_schema"]["strict"] is True
    assert body["messages"][1]["content"] == "Title: Type 2 diabetes mellitus with diabetic nephropathy\nWrite 7 texts."
    assert body["top_p"] == 0.9 and body["max_completion_tokens"] == 600
    assert not {"temperature", "max_tokens"} & set(body)


def read_facts(folder: Path) -> dict[str, Any]:
    """What run.json says of the model's part."""
    return json.loads((folder / "data" / "run.json").read_text())["llm"]


@pytest.mark.parametrize("fault", ["busy", "broken"])
def test_what_fails_in_passing_is_asked_again(api: ApiServer, tmp_path: Path, fault: str) -> None:
    api.fault = fail_first(fault)
    done = call(write_config(tmp_path, api))
    assert done.returncode == 0, done.stderr
    assert set(api.sent.values()) == {2} and set(api.paid.values()) == {1} and len(read_store(tmp_path)) == N
    assert read_facts(tmp_path)["requests_lost"] == api.listed == 0, "what was refused is nowhere to be found"
    if fault == "busy":
        seen: dict[str, float] = {}
        for moment, key, what in api.log:
            if what == "busy":
                seen[key] = moment
            elif what == "asked" and key in seen:
                assert moment - seen[key] >= 0.39, "sent before Retry-After was over"


@pytest.mark.parametrize("fault", ["slow", "cut", "gateway"])
def test_what_the_provider_finished_behind_our_back_is_fetched(api: ApiServer, tmp_path: Path, fault: str) -> None:
    api.fault = fail_first(fault)
    api.list_delay = 0.3
    done = call(write_config(tmp_path, api, {"timeout": 3.0}))
    assert done.returncode == 0 and f"recovered={N}" in done.stderr, done.stderr
    assert set(api.sent.values()) == set(api.paid.values()) == {1}
    assert {record["key"] for record in read_store(tmp_path)} == set(api.paid), "the key of the request is on the wire"
    facts = read_facts(tmp_path)
    assert facts["requests_lost"] == 0 and facts["cost_usd"] == pytest.approx(N * COST), "it costs what it cost, once"
    assert api.listed < 10 * N, "looked with growing pauses"


def test_what_the_provider_never_got_is_asked_again_once_it_cannot_be_running(api: ApiServer, tmp_path: Path) -> None:
    api.fault = fail_first("dropped")
    # answers to other requests are listed too when a server does not know the filter
    api.list_stored = lambda _asked: {"data": [*api.stored, {"id": "bare"}, None]}
    done = call(write_config(tmp_path, api, {"timeout": 0.5}))
    assert done.returncode == 0, done.stderr
    assert set(api.sent.values()) == {2} and set(api.paid.values()) == {1} and api.listed > N
    moments: dict[str, list[float]] = {}
    for moment, key, what in api.log:
        if what == "asked":
            moments.setdefault(key, []).append(moment)
    assert all(second - first >= 0.9 for first, second in moments.values()), "it could still have been running"
    assert read_facts(tmp_path)["requests_lost"] == N, "it may have been paid for and counts"


def test_a_server_that_keeps_nothing_is_asked_again_and_said_to_be_so(api: ApiServer, tmp_path: Path) -> None:
    api.fault = fail_first("cut")
    api.keeps = False
    done = call(write_config(tmp_path, api))
    assert done.returncode == 0 and done.stderr.count("keeps no answers (HTTP 404") == 1, done.stderr
    assert set(api.sent.values()) == set(api.paid.values()) == {2}
    assert read_facts(tmp_path)["requests_lost"] == N


def test_a_key_that_may_not_look_stops_before_anything_is_paid_twice(api: ApiServer, tmp_path: Path) -> None:
    api.fault, api.list_fault = fail_first("cut"), 403
    done = call(write_config(tmp_path, api))
    assert done.returncode == 2 and "writer.recover: false" in done.stderr.splitlines()[-1], done.stderr
    api.list_fault = 503
    done = call(write_config(tmp_path, api, {"retries": 1}))
    assert done.returncode == 2 and "run the same command again" in done.stderr.splitlines()[-1], done.stderr
    api.list_fault = 0
    assert call(write_config(tmp_path, api)).returncode == 0
    assert set(api.paid.values()) == {1} and len(api.paid) == N


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("malformed body", "body is not JSON"),
        ("malformed", "answer is not JSON"),
        ("schema", "wrong schema"),
        ("truncated", "truncated"),
        ("code", "text carries a code"),
    ],
)
def test_what_cannot_be_used_is_kept_with_its_reason_and_not_paid_again(
    api: ApiServer, tmp_path: Path, fault: str, reason: str
) -> None:
    api.fault = lambda body, _number: fault if "chronic kidney" in body["messages"][1]["content"] else ""
    done = call(write_config(tmp_path, api))
    assert done.returncode == 0, done.stderr
    assert {(row["code"], row["reason"]) for row in read_rejected(tmp_path) if row["code"] == "E11.22"} == {("E11.22", reason)}
    assert not [row for row in read_rows(tmp_path) if row["source"] == "llm:writer" and row["codes"] == ["E11.22"]]
    assert [row for row in read_rows(tmp_path) if row["source"] == "llm:writer" and row["codes"] == ["E11.21"]]
    call(tmp_path / "llm.yaml")
    assert set(api.sent.values()) == {1}


def test_a_cut_answer_is_asked_again_with_more_room_and_a_bad_one_as_it_was(api: ApiServer, tmp_path: Path) -> None:
    api.fault = lambda body, number: (
        ("truncated" if "Your task: misspell" in body["messages"][0]["content"] else "malformed")
        if number == 1 and body["max_tokens"] == 50
        else ""
    )
    done = call(write_config(tmp_path, api, {"attempts": 2, "max_tokens": 50}))
    assert done.returncode == 0 and f"rejected={N}" in done.stderr, done.stderr
    asked = Counter((body["messages"][0]["content"].split("Your task: ")[1][:7], body["max_tokens"]) for body in api.bodies)
    assert asked == {("misspel", 50): 3, ("misspel", 100): 3, ("reorder", 50): 6}
    assert Counter(row["reason"] for row in read_rejected(tmp_path) if row["attempt"] == 1) == {
        "truncated": 3,
        "answer is not JSON": 3,
    }


def test_a_text_written_for_two_codes_is_a_reject_of_both(api: ApiServer, tmp_path: Path) -> None:
    api.fault = lambda body, _number: "" if "other diabetic" in body["messages"][1]["content"] else "shared"
    done = call(write_config(tmp_path, api))
    assert done.returncode == 0, done.stderr
    rejected = [row for row in read_rejected(tmp_path) if row["reason"] == "text is also a text of another code"]
    assert [(row["variation"], row["code"], row["content"]) for row in rejected] == [
        ("typo", "E11.21", SHARED),
        ("typo", "E11.22", SHARED),
    ]
    assert SHARED not in {row["text"] for row in read_rows(tmp_path)}
    card = (tmp_path / "data" / "dataset_card.md").read_text()
    assert re.search(r"typo: is also a text of another code\W+2\b", card), card


def test_json_is_found_in_a_fence_behind_thoughts(api: ApiServer, tmp_path: Path) -> None:
    api.fault = lambda _body, _number: "fenced"
    done = call(write_config(tmp_path, api, {"structured": "text"}))
    assert done.returncode == 0 and f"done={N}" in done.stderr, done.stderr
    assert "response_format" not in api.bodies[0]


def test_a_text_the_server_will_not_take_is_a_reject_and_a_request_it_cannot_read_stops_the_run(
    api: ApiServer, tmp_path: Path
) -> None:
    api.fault = lambda body, _number: "refused" if "chronic kidney" in body["messages"][1]["content"] else ""
    done = call(write_config(tmp_path, api, {"concurrency": 1}))
    assert done.returncode == 0, done.stderr
    assert {row["reason"] for row in read_rejected(tmp_path) if row["code"] == "E11.22"} == {"HTTP 400: content policy"}
    api.fault = lambda _body, _number: "refused"
    done = call(tmp_path / "llm.yaml", "--output-dir", str(tmp_path / "other"))
    assert done.returncode == 2 and "HTTP 400: content policy" in done.stderr and "json_object" in done.stderr
    assert not (tmp_path / "other").exists() and "Traceback" not in done.stderr


@pytest.mark.slow
def test_ten_kills_lose_nothing_and_pay_for_nothing_twice(api: ApiServer, tmp_path: Path) -> None:
    settings = {"prefixes": ["E11", "I50"], "train_variants": {"reordered": 2, "abbreviated": 2, "typo": 2}}
    config = write_config(tmp_path, api, {"timeout": 2.0}, **settings)
    api.delay, api.list_delay = 0.04, 0.05
    seeded = random.Random(4)
    kept: set[str] = set()
    n_unheard = 0
    for _ in range(10):
        process = subprocess.Popen(
            [sys.executable, "-m", "data_gen.generate", "--config", str(config)],
            cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        wanted = len(api.log) + seeded.randrange(8, 50)
        while len(api.log) < wanted:
            assert process.poll() is None, "ended before it was killed"
            time.sleep(0.002)
        time.sleep(seeded.uniform(0, 0.05))
        process.send_signal(signal.SIGKILL)
        process.wait()
        time.sleep(0.1)  # the server finishes what it was at, and charges for it
        now = {record["key"] for record in read_store(tmp_path)}
        assert kept <= now, "lost what was kept"
        kept, n_unheard = now, n_unheard + len(api.paid.keys() - now)
        with (tmp_path / "data_answers" / "answers.jsonl").open("ab") as file:
            file.write(b'{"kind": "answer", "key": "torn')
    done = call(config)
    assert done.returncode == 0, done.stderr
    assert n_unheard > 5, "the kills met nothing that was under way"
    keys = [record["key"] for record in read_store(tmp_path)]
    assert set(api.paid.values()) == {1}, "paid for twice"
    assert sorted(keys) == sorted(api.paid), "each answer that was paid for is kept, once"
    assert read_facts(tmp_path)["cost_usd"] >= len(keys) * COST
    whole = tmp_path / "whole"
    whole.mkdir()
    assert call(write_config(whole, api, **settings)).returncode == 0
    assert hash_data(whole) == hash_data(tmp_path)


def test_the_first_ctrl_c_waits_for_what_is_under_way(api: ApiServer, tmp_path: Path) -> None:
    api.delay = 0.4
    command = [sys.executable, "-m", "data_gen.generate", "--config", str(write_config(tmp_path, api))]
    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    while len(api.log) < 4:
        assert process.poll() is None, "ended before it asked"
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "run the same command again" in errors and "Traceback" not in errors
    assert len(read_store(tmp_path)) == len(api.paid) == len(api.sent) == 4


def test_the_budget_stops_before_the_request_that_would_exceed_it(api: ApiServer, tmp_path: Path) -> None:
    api.delay = 0.02
    config = write_config(tmp_path, api, max_cost_usd=0.011)
    done = call(config)
    assert done.returncode == 2 and not (tmp_path / "data").exists()
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("icdtune: error")]
    assert "max_cost_usd 0.011" in line and "raise max_cost_usd" in line
    assert api.at_once == 1, "two could have cost more than the limit"
    spent = sum(api.paid.values()) * COST
    assert 0 < spent <= 0.011 and len(read_store(tmp_path)) == len(api.paid)
    most = read_store(tmp_path, "sent")[0]["most"]
    assert spent + most > 0.011, "stopped although another request would have fitted"
    assert call(config).returncode == 2 and sum(api.paid.values()) * COST == spent, "the limit is over all runs"
    done = call(config, "--max-cost-usd", "1")
    assert done.returncode == 0 and set(api.paid.values()) == {1}, done.stderr


def test_a_tokenizer_that_makes_more_of_a_prompt_than_estimated_raises_the_estimate(api: ApiServer, tmp_path: Path) -> None:
    api.prompt_tokens = 2000
    call(write_config(tmp_path, api, {"concurrency": 1}))
    first, second, *_ = (record["most"] for record in read_store(tmp_path, "sent"))
    output = 600 * PRICES["output_per_million_usd"] / 1e6
    assert first - output < 1000e-6 and second - output > 1900e-6


def test_a_lost_request_counts_as_paid(api: ApiServer, tmp_path: Path) -> None:
    api.fault = lambda _body, _number: "cut"
    done = call(write_config(tmp_path, api, {"recover": False}, max_cost_usd=0.02))
    most = read_store(tmp_path, "sent")[0]["most"]
    assert done.returncode == 2 and "lost requests" in done.stderr
    assert sum(api.sent.values()) == int(0.02 / most)


def test_requests_and_tokens_per_minute_are_kept(api: ApiServer, tmp_path: Path) -> None:
    call(write_config(tmp_path, api, {"requests_per_minute": 240}))
    moments = [moment for moment, _, what in api.log if what == "asked"]
    assert len(moments) == N and moments[-1] - moments[0] >= (N - 1) * 0.25 - 0.1
    other = tmp_path / "tokens"
    other.mkdir()
    api.log.clear()
    most = read_store(tmp_path, "sent")
    assert len(most) == N
    call(write_config(other, api, {"tokens_per_minute": 240_000}))
    moments = [moment for moment, _, what in api.log if what == "asked"]
    assert moments[-1] - moments[0] >= (N - 1) * 1000 / 4000 - 0.1, (
        "a request here has more than 1,000 tokens, most of them output"
    )


def test_the_providers_headers_are_kept(api: ApiServer, tmp_path: Path) -> None:
    api.headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "600ms"}
    call(write_config(tmp_path, api, {"concurrency": 1}))
    moments = [moment for moment, _, what in api.log if what == "asked"]
    assert len(moments) == N and min(b - a for a, b in itertools.pairwise(moments)) >= 0.59


def test_many_requests_are_under_way_but_no_more_than_asked_for(api: ApiServer, tmp_path: Path) -> None:
    api.delay = 0.1
    call(write_config(tmp_path, api, {"concurrency": 3}))
    assert api.at_once == 3


def test_two_processes_cannot_write_one_store(api: ApiServer, tmp_path: Path) -> None:
    api.delay = 0.5
    config = write_config(tmp_path, api, {"concurrency": 1})
    command = [sys.executable, "-m", "data_gen.generate", "--config", str(config)]
    process = subprocess.Popen(command, cwd=ROOT, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    while not api.log:
        assert process.poll() is None, "ended before it asked"
        time.sleep(0.01)
    second = call(config)
    assert second.returncode == 2 and "another process is writing" in second.stderr
    assert process.wait(60) == 0 and set(api.paid.values()) == {1}


def test_a_server_that_is_gone_or_refuses_the_key_is_one_line(api: ApiServer, tmp_path: Path) -> None:
    config = write_config(tmp_path, api, {"retries": 0})
    api.key = "secret"
    done = call(config, key="wrong")
    assert done.returncode == 2 and "wrong key; check OPENAI_API_KEY" in done.stderr
    assert call(config, key="secret").returncode == 0
    api.fault = lambda _body, _number: "no credit"
    done = call(config, "--output-dir", str(tmp_path / "b"), key="secret")
    assert done.returncode == 2 and "credit" in done.stderr and sum(api.sent.values()) < N + N + 5
    api.shutdown()
    api.server_close()
    done = call(config, "--output-dir", str(tmp_path / "c"))
    assert done.returncode == 2 and "connection lost" in done.stderr and "Traceback" not in done.stderr
    assert not (tmp_path / "c").exists()


def test_what_is_meant_for_this_machine_follows_no_redirect_and_no_proxy(
    api: ApiServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    api.fault = lambda _body, _number: "moved"
    done = call(write_config(tmp_path, api))
    assert done.returncode == 2 and "HTTP 307" in done.stderr
    assert len(api.log) >= 2
