"""Check a checkpoint folder before anything slow starts, by its files alone: no torch, no transformers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

from icd10cm.adapter_files import find_base, is_adapter, read_adapter
from icd10cm.errors import CheckpointError
from icd10cm.prompts import PROMPT_VERSION
from serving.default_model import explain_absence

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model")
_SAFETENSORS_INDEX = "model.safetensors.index.json"
_DTYPE_BYTES = {"float32": 4, "float16": 2, "bfloat16": 2}


class Checkpoint(NamedTuple):
    """What the files of a checkpoint folder say.

    Attributes:
        path: the folder.
        dtype: the type its weights are stored in, such as `bfloat16`.
        context: longest prompt and completion together, in tokens.
        head_size: width of an attention head.
        token_bytes: memory that the attention cache needs for one token.
        weights: the files with the weights.
        release: release of ICD-10-CM it was trained on; None when its `run.json` does not say.
        warnings: what does not stop it from running but can lower its scores, a sentence each.
        base: folder of the base model where `path` is a LoRA adapter, None for a whole model.
        rank: of the adapter, 0 for a whole model.
        quantization: how its weights are quantised, such as `compressed-tensors` or `awq`; None where they are not.
    """

    path: Path
    dtype: str
    context: int
    head_size: int
    token_bytes: int
    weights: tuple[Path, ...]
    release: str | None
    warnings: tuple[str, ...]
    base: Path | None = None
    rank: int = 0
    quantization: str | None = None


def check_checkpoint(path: str | Path, release: str | None = None) -> Checkpoint:
    """Return the facts of a checkpoint folder.

    Args:
        path: a folder with configuration, weights, tokenizer and chat template, as `finetune.sft` writes it, or with a LoRA
            adapter whose base is on this machine.
        release: the release whose codes are to be written; a warning says when the checkpoint was trained on another.

    Raises:
        CheckpointError: the folder or one of its parts is missing or empty; names it.
    """
    folder = Path(path)
    if not folder.exists():
        raise CheckpointError(f"{folder}: {explain_absence(folder)}")
    if not folder.is_dir():
        raise CheckpointError(f"{folder}: is a file; give the checkpoint folder that holds config.json")
    if not (folder / "config.json").is_file():
        if is_adapter(folder):
            return _check_adapter(folder, release)
        raise CheckpointError(f"{folder}: not a checkpoint folder, it has no config.json")
    config = read_json(folder / "config.json")
    weights = find_weights(folder)
    _check_tokenizer(folder)
    return _read_facts(folder, config, weights, release)


def _check_adapter(folder: Path, release: str | None) -> Checkpoint:
    """Return the facts of a LoRA adapter's folder: the size of its base, the tokenizer and release of its own."""
    rank = int(read_adapter(folder).get("r") or 0)
    base = find_base(folder)
    if not (base / "config.json").is_file():
        raise CheckpointError(f"{folder}: its base model {base} is not a checkpoint folder, it has no config.json")
    weights = (*find_weights(base), *find_weights(folder))
    _check_tokenizer(folder)
    facts = _read_facts(folder, read_json(base / "config.json"), weights, release)
    return facts._replace(base=base, rank=rank)


def _check_tokenizer(folder: Path) -> None:
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise CheckpointError(f"{folder}: has no tokenizer ({' or '.join(_TOKENIZER_FILES)}); save it beside the weights")
    if not _has_chat_template(folder):
        raise CheckpointError(
            f"{folder}: has no chat template (chat_template.jinja, or chat_template in tokenizer_config.json), so prompts "
            "would differ from those it was trained on; take an instruction-tuned model or train one with finetune.sft"
        )


def _read_facts(folder: Path, config: dict[str, Any], weights: tuple[Path, ...], release: str | None) -> Checkpoint:
    text = config.get("text_config") or config
    heads = int(text.get("num_attention_heads") or 1)
    head_size = int(text.get("head_dim") or int(text.get("hidden_size") or 0) // heads)
    dtype = str(text.get("dtype") or config.get("dtype") or config.get("torch_dtype") or "float32")
    kv_heads, layers = int(text.get("num_key_value_heads") or heads), int(text.get("num_hidden_layers") or 0)
    trained_on, warnings = _compare_run(folder, release)
    quantised = config.get("quantization_config") or text.get("quantization_config") or {}
    return Checkpoint(
        path=folder,
        dtype=dtype,
        context=int(text.get("max_position_embeddings") or 2048),
        head_size=head_size,
        token_bytes=2 * layers * kv_heads * head_size * _DTYPE_BYTES.get(dtype, 2),
        weights=weights,
        release=trained_on,
        warnings=warnings,
        quantization=quantised.get("quant_method") if isinstance(quantised, dict) else None,
    )


def _compare_run(folder: Path, release: str | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the release in the checkpoint's `run.json`, and what differs from this version and from `release`."""
    if not (folder / "run.json").is_file():
        return None, (f"{folder}: has no run.json, so it was not written by finetune.sft; its prompt may lack the instruction",)
    run = read_json(folder / "run.json")
    trained_on, version = run.get("release"), run.get("prompt_version")
    warnings = []
    if version != PROMPT_VERSION:
        warnings.append(f"{folder}: trained with prompt version {version}, this is {PROMPT_VERSION}: expect lower scores")
    if release is not None and trained_on is not None and trained_on != release:
        warnings.append(f"{folder}: trained on release {trained_on}, but the codes of release {release} are loaded")
    return trained_on, tuple(warnings)


def find_weights(folder: Path) -> tuple[Path, ...]:
    """Return the files that hold the weights of a model or an adapter. Raises `CheckpointError`."""
    if (folder / _SAFETENSORS_INDEX).is_file():
        names = sorted(set(read_json(folder / _SAFETENSORS_INDEX).get("weight_map", {}).values()))
        weights = [folder / name for name in names]
    else:
        weights = sorted(folder.glob("*.safetensors")) or sorted(folder.glob("pytorch_model*.bin"))
    if not weights:
        raise CheckpointError(f"{folder}: has no weights (model.safetensors); was training or the download interrupted?")
    for file in weights:
        if not file.is_file() or file.stat().st_size == 0:
            raise CheckpointError(f"{file}: weights are missing or empty; was training or the download interrupted?")
    return tuple(weights)


def _has_chat_template(folder: Path) -> bool:
    template = folder / "chat_template.jinja"
    if template.is_file() and template.stat().st_size:
        return True
    config = folder / "tokenizer_config.json"
    return config.is_file() and bool(read_json(config).get("chat_template"))


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file of a checkpoint. Raises `CheckpointError`."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error}); the checkpoint is damaged") from None
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds no JSON object; the checkpoint is damaged")
    return content
