"""Supervised fine-tuning: one script for every stage, from a two-core laptop to several nodes.

accelerate launch --config_file configs/accelerate/cpu.yaml -m finetune.sft --config configs/demo/stage1.yaml
accelerate launch --config_file configs/accelerate/zero2_4gpu.yaml -m finetune.sft --config configs/sft/stage1_initial.yaml
"""

from __future__ import annotations

import dataclasses
import logging
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finetune.label_mask import render_label_mask
from finetune.model_card import write_model_card
from finetune.previous_run import PreviousRun, settle_previous_run
from finetune.row_lengths import count_tokens, fit_rows
from finetune.stage_arguments import StageArguments, parse_arguments, write_help
from finetune.stage_data import StageData, count_scenarios, load_stage_data
from finetune.starting_point import (
    build_from_scratch,
    check_release,
    list_weight_files,
    load_model,
    load_tokenizer,
    preview_tokenizer,
)
from finetune.tokens import load_tokens
from icd10cm.entry import run_entry, say
from icd10cm.run_header import build_header, write_json, write_text

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig

_SHAPES_WEIGHTS = frozenset(
    {
        "adam_beta1",
        "adam_beta2",
        "bf16",
        "completion_only_loss",
        "data_seed",
        "fp16",
        "gradient_accumulation_steps",
        "greater_is_better",
        "learning_rate",
        "lr_scheduler_kwargs",
        "lr_scheduler_type",
        "max_grad_norm",
        "max_length",
        "max_steps",
        "metric_for_best_model",
        "num_train_epochs",
        "optim",
        "output_dir",
        "packing",
        "per_device_train_batch_size",
        "seed",
        "train_sampling_strategy",
        "use_cpu",
        "warmup_steps",
        "weight_decay",
    }
)
"""The keys of TRL's config that a run is recognised by when it is resumed."""


def main(argv: Sequence[str] | None = None) -> None:
    """Train one stage, or say what it would train."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or {"-h", "--help"} & set(arguments):
        print(write_help())
        return
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    _quiet_libraries()
    stage, sft, model = parse_arguments(arguments)
    data = load_stage_data(Path(stage.data), stage.scenarios, stage.repeats_of, stage.validation_size)
    check_release(str(model.model_name_or_path), stage.stage, Path(stage.data), data.release)
    if stage.dry_run:
        describe_run(stage, sft, model, data)
    else:
        train(stage, sft, model, data)


def train(stage: StageArguments, sft: SFTConfig, model_config: ModelConfig, data: StageData) -> None:
    """Train and save the checkpoint folder with its `run.json` and model card; go on where an earlier run stopped."""
    import torch
    from transformers import EarlyStoppingCallback
    from trl import get_peft_config

    from finetune.trainer import CodeTrainer

    # A small model that has learned its data has gradients near zero, where a CPU is ten times slower without this.
    torch.set_flush_denormal(True)
    folder, processes = Path(str(sft.output_dir)), sft.distributed_state
    header = _build_run_header(stage, sft, model_config, data)
    previous = _share(processes, lambda: _open_run(folder, stage, header))
    if previous.finished:
        say(f"{folder}: already trained with these settings; to train again add --on_existing delete")
        return
    if stage.from_scratch:
        model_config.model_name_or_path = str(folder / "from_scratch")
        _share(processes, lambda: build_from_scratch(Path(str(stage.from_scratch)), data.train, folder / "from_scratch"))
    tokenizer = load_tokenizer(model_config)
    with processes.main_process_first():
        rows, tokens, _ = fit_rows(data.train, tokenizer, sft.max_length, stage.too_long)
    trainer = CodeTrainer(
        model=load_model(model_config),
        args=sft,
        train_dataset=tokens,
        eval_dataset=load_tokens(data.validation, tokenizer),
        processing_class=tokenizer,
        peft_config=get_peft_config(model_config),
        validation_examples=data.validation,
    )
    if stage.early_stopping_patience:
        trainer.add_callback(EarlyStoppingCallback(stage.early_stopping_patience))
    if previous.checkpoint:
        say(f"going on from {previous.checkpoint}")
    started = time.monotonic()
    trainer.train(resume_from_checkpoint=str(previous.checkpoint) if previous.checkpoint else None)
    seconds = round(time.monotonic() - started, 1)
    trainer.save_model()
    if processes.is_main_process:
        n_parameters = trainer.accelerator.unwrap_model(trainer.model).num_parameters()
        header |= {"finished": True, "train_seconds": seconds, "steps": trainer.state.global_step, "n_parameters": n_parameters}
        header["history"] = trainer.state.log_history
        if stage.early_stopping_patience:
            header |= {"best_metric": trainer.state.best_metric, "best_step": trainer.state.best_global_step}
        write_text(folder / "README.md", write_model_card(header, count_scenarios(rows)))
        write_json(folder / "run.json", header)
        say(f"saved {folder} after {trainer.state.global_step} steps")


def describe_run(stage: StageArguments, sft: SFTConfig, model_config: ModelConfig, data: StageData) -> None:
    """Print what a run would do: counts, tokens, steps, and one rendered example with its label mask."""
    scratch = stage.from_scratch
    tokenizer = preview_tokenizer(Path(scratch), data.train) if scratch else load_tokenizer(model_config)
    kept, tokens, n_over = fit_rows(data.train, tokenizer, sft.max_length, stage.too_long)
    lengths = count_tokens(tokens)
    per_step = sft.per_device_train_batch_size * sft.gradient_accumulation_steps * sft.world_size
    steps_per_epoch = -(-len(kept) // per_step)
    steps = sft.max_steps if sft.max_steps > 0 else int(steps_per_epoch * sft.num_train_epochs)
    scenarios = ", ".join(f"{count:,} {scenario}" for scenario, count in count_scenarios(kept).items())
    rows = {
        "stage": stage.stage,
        "model": model_config.model_name_or_path or f"a Llama built from {stage.from_scratch}",
        "release": f"ICD-10-CM {data.release or 'that the data does not name'}",
        "data": f"{len(kept):,} training rows per epoch ({scenarios}), {len(data.validation):,} for validation",
        "tokens": f"{sum(lengths):,} per epoch; longest {max(lengths)} of max_length {sft.max_length}, {n_over} too long",
        "steps": f"{steps:,}, {steps_per_epoch:,} per epoch, {per_step} rows each, {sft.world_size} process(es)",
        "output": sft.output_dir,
    }
    for name, value in rows.items():
        print(f"{name:<7} {value}")
    print(f"\nOne training example; what is learned stands in [brackets]:\n{render_label_mask(kept[0], tokenizer)}")


def _build_run_header(stage: StageArguments, sft: SFTConfig, model: ModelConfig, data: StageData) -> dict[str, Any]:
    of_trl = {key: value for key, value in sft.to_dict().items() if key in _SHAPES_WEIGHTS}
    settings = {**of_trl, **dataclasses.asdict(model), **dataclasses.asdict(stage)}
    start = [Path(stage.from_scratch)] if stage.from_scratch else list_weight_files(str(model.model_name_or_path))
    return build_header(
        "finetune.sft", settings, [*data.files, *start], data.release, n_processes=sft.world_size, finished=False
    )


def _open_run(folder: Path, stage: StageArguments, header: dict[str, Any]) -> PreviousRun:
    """Settle what an earlier run left in `folder`, and leave this run's header there before any work."""
    previous = settle_previous_run(folder, stage.on_existing, header["settings"], header["inputs"])
    if not previous.finished:
        write_json(folder / "run.json", header)
    return previous


def _share(processes: Any, work: Any) -> Any:
    """Do `work` in the main process only and return its result in all of them."""
    from accelerate.utils import broadcast_object_list

    result = [work() if processes.is_main_process else None]
    if processes.num_processes > 1:
        broadcast_object_list(result)
    return result[0]


def _quiet_libraries() -> None:
    """Leave the progress bar and the evaluations to be seen: the libraries log a screenful at every start."""
    for name in ("transformers", "datasets", "trl", "accelerate", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
