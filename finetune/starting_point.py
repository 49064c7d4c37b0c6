"""What a stage starts from: a model on the hub, the checkpoint of an earlier stage, or a Llama built from scratch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_gen.examples import Example
from finetune.tiny import TinyLlama, build_tokenizer, write_tiny_checkpoint
from icd10cm.adapter_files import check_base, find_base, is_adapter
from icd10cm.config import check_settings, read_yaml
from icd10cm.errors import CheckpointError
from icd10cm.prompts import bake_instruction
from icd10cm.run_header import read_header

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase
    from trl import ModelConfig

_LLAMA_3_PAD = "<|finetune_right_pad_id|>"


def build_from_scratch(size_file: Path, examples: Sequence[Example], folder: Path) -> None:
    """Write the untrained checkpoint that `size_file` describes into `folder`, its tokenizer trained on the examples' texts."""
    write_tiny_checkpoint(_read_size(size_file), _list_texts(examples), folder, _list_codes(examples))


def load_tokenizer(model: ModelConfig) -> PreTrainedTokenizerBase:
    """Return the tokenizer of `model.model_name_or_path`, with the instruction in its chat template.

    Raises:
        CheckpointError: it has no tokenizer or no chat template, or cannot be fetched.
    """
    from transformers import AutoTokenizer

    name = str(model.model_name_or_path)
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, revision=model.model_revision)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{name}: no tokenizer could be loaded: {_first_line(error)}; {_explain_access(name)}") from None
    if not tokenizer.chat_template:
        raise CheckpointError(f"{name}: the tokenizer has no chat template; use an instruction-tuned model or one of ours")
    if not is_ours(Path(name)):
        tokenizer.chat_template = bake_instruction(tokenizer.chat_template)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = _LLAMA_3_PAD if _LLAMA_3_PAD in tokenizer.get_vocab() else tokenizer.eos_token
    return tokenizer


def preview_tokenizer(size_file: Path, examples: Sequence[Example]) -> PreTrainedTokenizerBase:
    """Return the tokenizer that `build_from_scratch` would write."""
    return build_tokenizer(_read_size(size_file), _list_texts(examples), _list_codes(examples))


def load_model(model: ModelConfig) -> Any:
    """Return the model to train, in the precision the config asks for (float32 when it does not say).

    An adapter's folder gives its base with that adapter on it, ready to be trained further.

    Raises:
        CheckpointError: the weights are missing, broken, or cannot be fetched.
    """
    name = Path(str(model.model_name_or_path))
    if not is_adapter(name):
        return _load_whole(model, str(name))
    from peft import PeftModel

    if not model.use_peft:
        raise CheckpointError(f"{name}: is a LoRA adapter; set use_peft true to train it further, or merge it (finetune.merge)")
    base = find_base(name)
    check_base(name, base)
    return PeftModel.from_pretrained(_load_whole(model, str(base)), str(name), is_trainable=True)


def build_peft_config(model: ModelConfig) -> Any:
    """Return the adapter to put on the model; None for full fine-tuning and where the checkpoint brings its own."""
    from trl import get_peft_config

    return None if is_adapter(Path(str(model.model_name_or_path))) else get_peft_config(model)


def check_vocabulary(model: Any, tokenizer: PreTrainedTokenizerBase, name: str) -> None:
    """Raise `CheckpointError` where the tokenizer has tokens that the model has no weights for: it belongs to another model."""
    weight = model.get_input_embeddings().weight
    # Under ZeRO-3 a process holds a part, and DeepSpeed the shape of the whole.
    rows = getattr(weight, "ds_shape", weight.shape)[0]
    if len(tokenizer) > rows:
        raise CheckpointError(
            f"{name}: its tokenizer has {len(tokenizer):,} tokens, the model {rows:,}; take the one that it was trained with"
        )


def _load_whole(model: ModelConfig, name: str) -> PreTrainedModel:
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM
    from trl import get_quantization_config

    try:
        return AutoModelForCausalLM.from_pretrained(
            name,
            revision=model.model_revision,
            dtype=model.dtype or "float32",
            attn_implementation=model.attn_implementation,
            quantization_config=get_quantization_config(model),
        )
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointError(f"{name}: the model could not be loaded: {_first_line(error)}; {_explain_access(name)}") from None


def find_config_folder(name: str) -> str:
    """Return where the model's `config.json` is: an adapter's is its base's."""
    return str(find_base(Path(name))) if is_adapter(Path(name)) else name


def list_weight_files(name: str) -> list[Path]:
    """Return the weight files of a local checkpoint folder, an adapter's base included; none for a model on the hub."""
    bases = list_weight_files(str(find_base(Path(name)))) if is_adapter(Path(name)) else []
    return [*sorted(Path(name).glob("*.safetensors")), *bases]


def is_ours(folder: Path) -> bool:
    """Whether a checkpoint came from `finetune.sft`, so that its template holds the instruction already."""
    return (folder / "run.json").is_file() or folder.name == "from_scratch"


def check_release(name: str, stage: str, data: Path, release: str | None) -> None:
    """Refuse to go on from a checkpoint of another release than the data's, unless the stage is an update from just that one.

    Args:
        name: folder of the checkpoint, or a model on the hub, which has no release.
        stage: one of `STAGES`.
        data: data folder; that of `icdtune update` says in its `run.json` which release it is for.
        release: of the data, None where it does not say.

    Raises:
        CheckpointError: the releases do not fit.
    """
    if not (Path(name) / "run.json").is_file():
        return
    trained_on = read_header(Path(name) / "run.json").get("release")
    if release in (None, trained_on) or trained_on is None:
        return
    if stage != "update":
        raise CheckpointError(
            f"{name}: was trained on release {trained_on}, but {data} is of release {release}; `icdtune update` writes what "
            "teaches a checkpoint another release, and `stage: update` trains on it"
        )
    run = data / "run.json"
    wanted = read_header(run).get("from_release") if run.is_file() else None
    if wanted not in (None, trained_on):
        raise CheckpointError(
            f"{name}: was trained on release {trained_on}, but {data} updates a checkpoint of release {wanted} to {release}"
        )


def _read_size(size_file: Path) -> TinyLlama:
    return check_settings(TinyLlama, read_yaml(size_file), str(size_file))


def _list_texts(examples: Sequence[Example]) -> list[str]:
    return list(dict.fromkeys(example.text for example in examples))


def _list_codes(examples: Sequence[Example]) -> list[str]:
    return sorted({code for example in examples for code in example.codes})


def _explain_access(name: str) -> str:
    if Path(name).exists():
        return "the folder is not a whole checkpoint"
    return f"for a model on the Hugging Face hub accept its licence at huggingface.co/{name} and set HF_TOKEN"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
