"""`GET /icdtune`: what a client on another machine can know of the model it talks to."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from test_serving_middleware import Recorder, set_served

from icd10cm.prompts import PROMPT_VERSION
from icd10cm.run_header import hash_file
from serving import model_facts
from serving.middleware import Gate
from serving.model_facts import Served, gather_facts, hash_weights


def ask_facts() -> tuple[int, Any]:
    """Return status and content of the answer to `GET /icdtune`."""
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    recorder = Recorder()
    scope = {"type": "http", "method": "GET", "path": "/icdtune", "headers": []}
    asyncio.run(Gate(recorder)(scope, None, send))  # type: ignore[arg-type]
    assert not recorder.scope, "the application behind must not see it"
    return sent[0]["status"], json.loads(sent[1]["body"])


def test_the_facts_say_what_answers(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_served(monkeypatch, random_checkpoint, release="2026", notice="as told")
    status, facts = ask_facts()
    model = facts["models"]["icdtune"]
    assert status == 200 and facts["notice"] == "as told" and facts["version"]
    assert model["sha256"] == hash_file(random_checkpoint / "model.safetensors")
    assert (model["prompt_version"], model["release"], model["trained_release"]) == (PROMPT_VERSION, "2026", "2026")
    assert (model["context"], model["max_tokens"], model["engine"], model["constrained"]) == (256, 100, "vllm", True)
    assert model["engine_version"] and model["calibration"] is None


def test_calibration_comes_with_the_checkpoint(
    random_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(random_checkpoint, folder)
    (folder / "calibration.json").write_text('{"threshold": 0.7}')
    (folder / "run.json").unlink()
    before = sorted(folder.iterdir())
    set_served(monkeypatch, folder, engine="transformers")
    model = ask_facts()[1]["models"]["icdtune"]
    assert model["calibration"] == {"threshold": 0.7} and model["engine"] == "transformers"
    assert model["prompt_version"] is None and model["release"] is None
    assert sorted(folder.iterdir()) == before, "nothing is written into a checkpoint"


def test_weights_are_read_once_and_again_when_they_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shards = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for shard, content in zip(shards, (b"x" * 5_000_000, b"y"), strict=True):
        shard.write_bytes(content)
    expected = hashlib.sha256(b"x" * 5_000_000 + b"y").hexdigest()
    assert hash_weights(shards) == expected
    with monkeypatch.context() as patch:
        patch.setattr(model_facts.hashlib, "sha256", None)
        assert hash_weights(shards) == expected
    shards[1].write_bytes(b"zz")
    assert hash_weights(shards) != expected


def test_an_adapter_is_hashed_with_its_base(tmp_path: Path) -> None:
    base, adapter = tmp_path / "base", tmp_path / "adapter"
    for folder, name in ((base, "model"), (adapter, "adapter_model")):
        folder.mkdir()
        (folder / f"{name}.safetensors").write_bytes(name.encode())
    (base / "config.json").write_text("{}")
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(base)}))
    served = Served(engine="vllm", models={"base": base, "own": adapter})
    models = asyncio.run(gather_facts(served))["models"]
    assert models["base"]["sha256"] == hashlib.sha256(b"model").hexdigest()
    assert models["own"]["sha256"] == hashlib.sha256(b"model" + b"adapter_model").hexdigest()
