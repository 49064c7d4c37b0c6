"""What the README shows of the running servers, run: its curl commands and Python blocks, on a real vLLM and the coding API."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_lines import find_blocks, split_commands
from processes import answers, find_test_port, wait_for

from icd10cm import CodeSet
from serving.process import Server

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
MODEL_URL, API_URL = "http://127.0.0.1:8000", "http://127.0.0.1:8080"
CURLS = [words for block in find_blocks(README, "bash") for words in split_commands(block) if words[0] == "curl"]
BLOCKS = [block for block in find_blocks(README, "python") if "openai" in block]


class Served:
    """A model server and a coding API, at other ports than those of the README."""

    def __init__(self, model_url: str, api_url: str, audit: Path):
        self.urls, self.audit = {MODEL_URL: model_url, API_URL: api_url}, audit

    def move(self, text: str) -> str:
        """Return `text` with the addresses of these servers."""
        for shown, real in self.urls.items():
            text = text.replace(shown, real)
        return text


@pytest.fixture(scope="module")
def served(vllm_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("api")
    port = find_test_port(18600)
    audit = folder / "audit" / "audit.jsonl"
    settings = ["--base-url", vllm_server.base_url, "--port", str(port), "--audit-file", str(audit)]
    command = [sys.executable, "-m", "serving.api.start", "--config", "configs/serving/api.yaml", *settings]
    with (folder / "api.log").open("w") as log:
        process = subprocess.Popen(command, cwd=ROOT, stderr=log)
        try:
            wait_for(lambda: answers(f"http://127.0.0.1:{port}/readyz"))
            yield Served(vllm_server.base_url.removesuffix("/v1"), f"http://127.0.0.1:{port}", audit)
        finally:
            process.terminate()
            assert process.wait(60) == 0


@pytest.mark.parametrize("words", CURLS, ids=[f"{number} {words[1]}" for number, words in enumerate(CURLS)])
def test_curl(served: Served, words: list[str], codes: CodeSet) -> None:
    command = [served.move(word) for word in words]
    done = subprocess.run([*command, "--silent", "--show-error", "--fail"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    reply = json.loads(done.stdout)
    if "choices" in reply:
        assert set(reply["choices"][0]["text"].split(", ")) <= set(codes.codes)
    elif "format=fhir" in words[1]:
        from fhir.resources.R4B.bundle import Bundle

        assert Bundle.model_validate(reply).entry
    elif words[1].endswith("/v1/coding"):
        assert all(codes.is_billable(one["code"]) for one in (*reply["codes"], *reply["candidates"]))
        assert reply["codes"] or reply["candidates"]
    else:
        assert reply.get("hits") or reply.get("data")


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python(served: Served, block: str, codes: CodeSet) -> None:
    printed = io.StringIO()
    scope: dict[str, Any] = {"__name__": "readme"}
    with contextlib.redirect_stdout(printed):
        exec(compile(served.move(block), "README.md", "exec"), scope)
    told = printed.getvalue().translate(str.maketrans("[]'\n", "    ")).replace(" ", ",").split(",")
    assert set(filter(None, told)) and set(filter(None, told)) <= set(codes.codes)


def test_the_api_passes_openai_clients_on(served: Served, codes: CodeSet) -> None:
    import openai

    async def stream() -> str:
        async with openai.AsyncOpenAI(base_url=f"{served.urls[API_URL]}/v1", api_key="none") as client:
            messages: Any = [{"role": "user", "content": "gout"}]
            chunks = await client.chat.completions.create(model="icdtune", messages=messages, stream=True, max_tokens=40)
            return "".join([chunk.choices[0].delta.content or "" async for chunk in chunks if chunk.choices])

    with openai.OpenAI(base_url=f"{served.urls[API_URL]}/v1", api_key="none") as client:
        plain = client.completions.create(model="icdtune", prompt="gout", max_tokens=40).choices[0].text
    assert asyncio.run(stream()) == plain
    assert set(filter(None, plain.rstrip(", ").split(", "))) <= set(codes.codes)


def test_icdtune_code_and_the_audit_log(served: Served) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for url in served.urls.values():
        command = [sys.executable, "-m", "serving.code", "T2DM w/ foot ulcer", "--base-url", f"{url}/v1"]
        asked = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        assert asked.returncode == 0 and "Decision support" in asked.stderr, asked.stderr
    verify = [sys.executable, "-m", "icd10cm.cli", "audit", "verify", str(served.audit.parent)]
    assert subprocess.run(verify, cwd=ROOT, timeout=60).returncode == 0
