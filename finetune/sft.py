"""Supervised fine-tuning: one script for every stage, from a two-core laptop to several nodes.

accelerate launch --config_file configs/accelerate/cpu.yaml -m finetune.sft --config configs/demo/stage1.yaml
accelerate launch --config_file configs/accelerate/zero2_4gpu.yaml -m finetune.sft --config configs/sft/stage1_initial.yaml
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from finetune.dry_run import describe_run
from finetune.machines import check_whole, open_launch
from finetune.row_lengths import fit_rows
from finetune.stage_arguments import StageArguments, parse_arguments, write_help
from finetune.stage_data import StageData, load_stage_data
from finetune.stage_run import build_run_header, flush_denormals, open_run, quiet_libraries, share, train_to_the_end
from finetune.starting_point import (
    build_from_scratch,
    build_peft_config,
    check_release,
    check_vocabulary,
    load_model,
    load_tokenizer,
)
from finetune.tokens import load_tokens
from icd10cm.entry import run_entry, say

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig


def main(argv: Sequence[str] | None = None) -> None:
    """Train one stage, or say what it would train."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or {"-h", "--help"} & set(arguments):
        print(write_help())
        return
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    quiet_libraries()
    machines, arguments = open_launch(arguments)
    stage, sft, model = parse_arguments(arguments)
    if stage.muon:
        check_whole(machines, "muon")
    data = load_stage_data(Path(stage.data), stage.scenarios, stage.repeats_of, stage.validation_size, stage.lists)
    check_release(str(model.model_name_or_path), stage.stage, Path(stage.data), data.release)
    if stage.dry_run:
        describe_run(stage, sft, model, data, machines)
    else:
        train(stage, sft, model, data)


@flush_denormals()
def train(stage: StageArguments, sft: SFTConfig, model_config: ModelConfig, data: StageData) -> None:
    """Train and save the checkpoint folder with its `run.json` and model card; go on where an earlier run stopped."""
    from finetune.muon import plan_muon
    from finetune.trainer import CodeTrainer

    folder, processes = Path(str(sft.output_dir)), sft.distributed_state
    header = build_run_header("finetune.sft", stage, sft, model_config, data)
    previous = share(processes, lambda: open_run(folder, stage, header))
    if previous.finished:
        say(f"{folder}: already trained with these settings; to train again add --on_existing delete")
        return
    if stage.from_scratch:
        model_config.model_name_or_path = str(folder / "from_scratch")
        share(processes, lambda: build_from_scratch(Path(str(stage.from_scratch)), data.train, folder / "from_scratch"))
    tokenizer = load_tokenizer(model_config)
    with processes.main_process_first():
        rows, tokens, _ = fit_rows(data, tokenizer, sft.max_length, stage.too_long)
    model = load_model(model_config)
    check_vocabulary(model, tokenizer, str(model_config.model_name_or_path))
    trainer = CodeTrainer(
        model=model,
        args=sft,
        train_dataset=tokens,
        eval_dataset=load_tokens(data.validation, tokenizer, keep=not data.restricted),
        processing_class=tokenizer,
        peft_config=build_peft_config(model_config),
        validation_examples=data.validation,
        optimizer_cls_and_kwargs=plan_muon(sft) if stage.muon else None,
    )
    train_to_the_end(trainer, stage, header, previous, rows)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
