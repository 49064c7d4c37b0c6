"""A LoRA adapter's folder and the base model that it belongs to, by their files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from icd10cm.errors import CheckpointError
from icd10cm.run_header import hash_file, read_header

ADAPTER_CONFIG = "adapter_config.json"


def is_adapter(folder: Path) -> bool:
    """Whether a folder holds an adapter and no model of its own."""
    return (folder / ADAPTER_CONFIG).is_file() and not (folder / "config.json").is_file()


def find_base(adapter: Path) -> Path:
    """Return the folder of the base model: as the adapter names it, or its copy in the cache of the Hugging Face hub.

    Raises:
        CheckpointError: the adapter is damaged, or its base is not on this machine.
    """
    name = str(read_adapter(adapter).get("base_model_name_or_path") or "")
    if not name:
        raise CheckpointError(f"{adapter / ADAPTER_CONFIG}: does not name its base model (base_model_name_or_path)")
    if Path(name).is_dir():
        return Path(name)
    if name.count("/") == 1 and not name.startswith((".", "outputs/")):
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import LocalEntryNotFoundError

        try:
            return Path(snapshot_download(name, local_files_only=True))
        except (LocalEntryNotFoundError, ValueError):
            raise CheckpointError(f"{adapter}: its base model {name} is not on this machine; hf download {name}") from None
    raise CheckpointError(
        f"{adapter}: its base model {name} is missing (from {Path.cwd()}); put it back, or mend base_model_name_or_path in "
        f"{ADAPTER_CONFIG}"
    )


def read_adapter(folder: Path) -> dict[str, Any]:
    """Return the configuration of an adapter. Raises `CheckpointError` where it is missing, broken, or without weights."""
    path = folder / ADAPTER_CONFIG
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: not readable as JSON ({error}); give the folder of a LoRA adapter") from None
    weights = folder / "adapter_model.safetensors"
    if not isinstance(content, dict) or not weights.is_file() or not weights.stat().st_size:
        raise CheckpointError(f"{folder}: holds no whole LoRA adapter ({weights.name}); was its training interrupted?")
    return content


def check_base(adapter: Path, base: Path) -> None:
    """Check that an adapter and its base belong together.

    Raises:
        CheckpointError: their tokenizers differ, or the base's weights are not those that the adapter's `run.json` names.
    """
    if _read_vocabulary(adapter) not in (None, _read_vocabulary(base)):
        raise CheckpointError(f"{adapter}: its tokenizer is not that of its base {base}; the adapter belongs to another model")
    if not (adapter / "run.json").is_file():
        return
    trained_on = read_header(adapter / "run.json").get("inputs", {})
    for weights in sorted(base.glob("*.safetensors")):
        recorded = trained_on.get(str(weights))
        if recorded and recorded != hash_file(weights):
            raise CheckpointError(f"{adapter}: was trained on other weights than {weights} now holds; train the adapter again")


def _read_vocabulary(folder: Path) -> Any:
    """Return what gives each token its id; None where a folder has no `tokenizer.json`."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    return [content.get("model"), content.get("added_tokens")]
