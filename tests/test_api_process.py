"""The coding API as a process: how it starts, refuses to start, stops, and keeps a model server running."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from processes import answers, find_test_port, is_running, wait_for
from upstream_server import start_upstream

from icd10cm.config import check_settings
from serving.api import start
from serving.api.settings import ApiSettings
from serving.api.supervisor import Supervisor, build_command, build_server_settings
from serving.audit.verify import verify
from serving.command import ServeSettings

ROOT = Path(__file__).parent.parent
SECRET = "Mrs Zwetschgenbaum has gout"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--prot", "1"], "did you mean 'port'?"),
        (["--base-url", "nowhere"], "not an address"),
        (["--base-url", "http://user:secret@127.0.0.1/v1"], "holds no password"),
        (["--model", "/no/such", "--base-url", "http://127.0.0.1:1/v1"], "not both"),
        (["--model", "/no/such"], "no such checkpoint folder"),
        (["--server", "{portt: 1}", "--model", "x"], "portt"),
        (["--server", "{dtype: float32}", "--base-url", "http://127.0.0.1:1/v1"], "for the server that 'model' starts"),
        (["--host", "0.0.0.0", "--base-url", "http://127.0.0.1:1/v1"], "API keys are needed"),
        (["--code-file", "/no/such.txt"], "does not exist"),
        (["--audit-file", "/proc/x/audit.jsonl", "--base-url", "http://127.0.0.1:1/v1"], "audit log cannot be made"),
    ],
)
def test_what_is_wrong_is_one_line(words: list[str], complaint: str, capsys: pytest.CaptureFixture) -> None:
    port = find_test_port(18700)
    assert start.run(["--config", str(ROOT / "configs/serving/api.yaml"), "--port", str(port), *words]) == 2
    said = capsys.readouterr().err
    assert complaint in said and said.count("\n") == 1 and "secret" not in said


def test_a_dry_run_says_what_would_be_served(capsys: pytest.CaptureFixture, tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    words = ["--model", str(tmp_path), "--server", "{kv_cache_gib: 1, port: 18111}", "--audit-file", str(log)]
    assert start.run(["--config", str(ROOT / "configs/serving/api.yaml"), "--dry-run", *words]) == 0
    said = capsys.readouterr().out
    assert "-m serving.serve" in said and "--kv-cache-gib 1" in said and "--port 18111" in said
    assert "POST   /v1/coding\n" in said and "no API key" in said and "http://127.0.0.1:18111/v1" in said
    assert not log.exists()


def test_requests_under_way_finish_when_it_is_told_to_stop(tmp_path: Path) -> None:
    port = find_test_port(18750)
    url, log = f"http://127.0.0.1:{port}", tmp_path / "audit.jsonl"
    with start_upstream() as upstream, (tmp_path / "stderr").open("w") as stderr:
        words = ["--base-url", upstream.url, "--port", str(port), "--audit-file", str(log), "--shutdown-timeout", "20"]
        command = [sys.executable, "-m", "serving.api.start", "--config", "configs/serving/api.yaml", *words]
        process = subprocess.Popen(command, cwd=ROOT, stderr=stderr, env={**os.environ, "OPENAI_LOG": "debug"})
        try:
            wait_for(lambda: answers(f"{url}/readyz"))
            body = {"text": SECRET, "evidence": False}
            assert httpx.post(f"{url}/v1/coding", json=body, trust_env=False, timeout=60).status_code == 200
            n_asked = upstream.sent["/v1/chat/completions"]
            upstream.mode, upstream.delay = "slow", 1.0
            with concurrent.futures.ThreadPoolExecutor(16) as pool:
                asked = [pool.submit(httpx.post, f"{url}/v1/coding", json=body, trust_env=False, timeout=60) for _ in range(16)]
                wait_for(lambda: upstream.sent["/v1/chat/completions"] >= n_asked + 16)
                process.send_signal(signal.SIGTERM)
                replies = [one.result() for one in asked]
            assert [reply.status_code for reply in replies] == [200] * 16
            assert process.wait(20) == 0
        finally:
            process.kill()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz", trust_env=False)
    verdict = verify([log])
    assert verdict.ok and verdict.n_records == 18
    said = (tmp_path / "stderr").read_text()
    assert f"ready: {url}" in said and "POST /v1/coding 200" in said and "Zwetschgenbaum" not in said and "gout" not in said


def test_a_model_server_that_dies_is_started_again(capsys: pytest.CaptureFixture) -> None:
    port = find_test_port(18800)
    supervisor = Supervisor([sys.executable, str(ROOT / "tests" / "upstream_server.py"), str(port)])
    supervisor.start()
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"))
        first = supervisor._process.pid
        os.kill(first, signal.SIGKILL)
        wait_for(lambda: supervisor._process.pid != first and answers(f"http://127.0.0.1:{port}/health"))
        second = supervisor._process.pid
    finally:
        supervisor.stop()
    assert not is_running(second) and not answers(f"http://127.0.0.1:{port}/health")
    assert "ended with status -9; it is started again in 1 s" in capsys.readouterr().err


def test_a_model_server_does_not_outlive_an_api_that_is_killed() -> None:
    port = find_test_port(18850)
    command = [sys.executable, str(ROOT / "tests" / "upstream_server.py"), str(port)]
    program = (
        "import time; from serving.api.supervisor import Supervisor; "
        f"supervisor = Supervisor({command!r}); supervisor.start(); print(supervisor._process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE) as api:
        assert api.stdout
        server = int(api.stdout.readline())
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/health"))
        api.kill()
    wait_for(lambda: not is_running(server))


def test_the_model_server_gets_the_settings_it_is_given(tmp_path: Path) -> None:
    given = ApiSettings(model=tmp_path, server={"temperature": 0.5, "extra_args": {"seed": 1}, "constrained": False})
    settings = check_settings(ServeSettings, build_server_settings(given, 18123), "server")
    command = build_command(settings)
    assert command[1:3] == ["-m", "serving.serve"]
    from icd10cm.config import load_settings
    from serving.serve import EntrySettings

    again = load_settings(EntrySettings, command[3:], doc="", prog="x")
    assert {name: getattr(again, name) for name in ServeSettings.model_fields} == dict(settings)
