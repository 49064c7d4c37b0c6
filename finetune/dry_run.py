"""What a run would do, said without doing it: counts, tokens, steps, memory, one example with its label mask."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_gen.examples import Example
from finetune.label_mask import render_label_mask
from finetune.machines import Machines
from finetune.memory import ModelSize, estimate_memory, measure_model
from finetune.row_lengths import count_tokens, fit_rows
from finetune.stage_data import StageData, count_scenarios
from finetune.starting_point import load_tokenizer, preview_tokenizer
from finetune.tiny import TinyLlama, build_model
from finetune.tokens import IGNORED, tokenize
from icd10cm.adapter_files import find_base, is_adapter
from icd10cm.config import check_settings, read_yaml
from icd10cm.errors import CheckpointError
from icd10cm.prompts import INSTRUCTION, SEPARATOR

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig

    from finetune.stage_arguments import StageArguments

LLAMAS: dict[str, dict[str, Any]] = {
    "meta-llama/Llama-3.2-1B-Instruct": {
        "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "num_attention_heads": 32,
    },
    "meta-llama/Llama-3.2-3B-Instruct": {
        "hidden_size": 3072, "intermediate_size": 8192, "num_hidden_layers": 28, "num_attention_heads": 24,
    },
    "meta-llama/Llama-3.1-8B-Instruct": {
        "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
        "tie_word_embeddings": False,
    },
}  # fmt: skip
"""The published sizes of the gated models of `configs/sft/`, for where their configuration cannot be fetched."""
_LLAMA_3 = {"vocab_size": 128_256, "num_key_value_heads": 8, "tie_word_embeddings": True}
_LETTERS_PER_TOKEN, _TEMPLATE_TOKENS = 3, 60


def describe_run(stage: StageArguments, sft: SFTConfig, model_config: ModelConfig, data: StageData, machines: Machines) -> None:
    """Print what a run would do; where the hub does not give the tokenizer, tokens are guessed and no mask is shown."""
    scratch = stage.from_scratch
    tokenizer, problem = (preview_tokenizer(Path(scratch), data.train), "") if scratch else _find_tokenizer(model_config)
    if tokenizer is None:
        rows: Sequence[Example] = data.train
        lengths = [_guess_tokens(example) for example in rows]
        tokens = f"about {sum(lengths):,} per epoch; longest about {max(lengths)} of max_length {sft.max_length} (a guess)"
    else:
        rows, token_ids, n_over = fit_rows(data, tokenizer, sft.max_length, stage.too_long)
        lengths = count_tokens(token_ids)
        tokens = f"{sum(lengths):,} per epoch; longest {max(lengths)} of max_length {sft.max_length}, {n_over} too long"
    per_step = sft.per_device_train_batch_size * sft.gradient_accumulation_steps * machines.processes
    steps_per_epoch = -(-len(rows) // per_step)
    steps = sft.max_steps if sft.max_steps > 0 else int(steps_per_epoch * sft.num_train_epochs)
    scenarios = ", ".join(f"{count:,} {scenario}" for scenario, count in count_scenarios(rows).items())
    size = measure_start(stage, model_config, tokenizer)
    lines = {
        "stage": stage.stage,
        "model": model_config.model_name_or_path or f"a Llama built from {stage.from_scratch}",
        "release": f"ICD-10-CM {data.release or 'that the data does not name'}",
        "data": f"{len(rows):,} training rows per epoch ({scenarios}), {len(data.validation):,} for validation",
        "tokens": tokens,
        "steps": f"{steps:,}, {steps_per_epoch:,} per epoch, {per_step} rows each, {machines.processes} process(es)",
        "memory": _describe_memory(size, sft, model_config, machines, max(lengths), _count_kept(rows, tokenizer)),
        "output": sft.output_dir,
    }
    for name, value in lines.items():
        print(f"{name:<7} {value}")
    if tokenizer is None:
        print(f"\nNo example can be shown: {problem}")
    elif data.restricted:
        print("\nNo example is shown: the texts are restricted.")
    else:
        print(f"\nOne training example; what is learned stands in [brackets]:\n{render_label_mask(rows[0], tokenizer)}")


def measure_start(stage: StageArguments, model_config: ModelConfig, tokenizer: Any) -> ModelSize | None:
    """Return the size of the model a stage starts from, no weights loaded; None when its configuration cannot be had."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, LlamaConfig
    from trl import get_peft_config

    folder = Path(str(model_config.model_name_or_path))
    name = str(find_base(folder) if is_adapter(folder) else folder)
    with torch.device("meta"):
        if stage.from_scratch:
            settings = check_settings(TinyLlama, read_yaml(Path(stage.from_scratch)), stage.from_scratch)
            model: Any = build_model(settings, tokenizer)
        else:
            try:
                config = AutoConfig.from_pretrained(name, revision=model_config.model_revision)
            except (OSError, ValueError):
                if name not in LLAMAS:
                    return None
                config = LlamaConfig(**_LLAMA_3 | LLAMAS[name])
            model = AutoModelForCausalLM.from_config(config)
    return measure_model(model, get_peft_config(model_config))


def _describe_memory(
    size: ModelSize | None, sft: SFTConfig, model_config: ModelConfig, machines: Machines, longest: int, kept: int
) -> str:
    if size is None:
        return "not known: the model's configuration cannot be had"
    parts, host = estimate_memory(size, sft, model_config, machines, min(longest, sft.max_length or longest), kept)
    if machines.on_cpu:
        del parts["CUDA"]
    what = ", ".join(f"{name} {_write_size(n_bytes)}" for name, n_bytes in parts.items())
    where = "process" if machines.on_cpu else "GPU"
    offloaded = f"; of the host {_write_size(host)} GB for each" if host else ""
    trained = "" if size.trained == size.parameters else f", {size.trained:,} trained"
    total = _write_size(sum(parts.values()))
    return f"about {total} GB per {where} ({what}){offloaded}; {size.parameters:,} parameters{trained}; an estimate"


def _write_size(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.1f}" if n_bytes >= 1e8 else f"{n_bytes / 1e9:.2g}"


def _find_tokenizer(model_config: ModelConfig) -> tuple[Any, str]:
    """Return the tokenizer and nothing, or None and how to get it when it is on a hub that does not give it."""
    name = str(model_config.model_name_or_path)
    is_here = Path(name).exists()
    if not is_here:
        _skip_retries()
    try:
        return load_tokenizer(model_config), ""
    except CheckpointError as error:
        if is_here:
            raise
        return None, str(error)


def _skip_retries() -> None:
    """Leave the hub alone when it does not answer: its library would try again for a minute, file by file."""
    import httpx
    from huggingface_hub import constants

    try:
        httpx.head(constants.ENDPOINT, timeout=5)
    except httpx.HTTPError:
        constants.HF_HUB_OFFLINE = True


def _guess_tokens(example: Example) -> int:
    letters = len(INSTRUCTION) + len(example.text) + len(SEPARATOR.join(example.codes))
    return _TEMPLATE_TOKENS + letters // _LETTERS_PER_TOKEN


def _count_kept(rows: Sequence[Example], tokenizer: Any) -> int:
    """Return how many positions of a row logits are built for, where most codes are."""
    most = max(rows, key=lambda example: len(SEPARATOR.join(example.codes)))
    if tokenizer is None:
        return 2 + len(SEPARATOR.join(most.codes)) // 2
    ((_, labels),) = tokenize([most], tokenizer)
    return 1 + sum(label != IGNORED for label in labels)
