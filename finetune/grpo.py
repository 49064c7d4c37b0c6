"""Stage `reinforce`: from a trained checkpoint, learn from rewards for the answers that the model samples itself (TRL's GRPO).

accelerate launch --config_file configs/accelerate/cpu.yaml -m finetune.grpo --config configs/grpo/demo_reinforce.yaml
accelerate launch --config_file configs/accelerate/zero2_4gpu.yaml -m finetune.grpo --config configs/grpo/stage4_reinforce.yaml
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import yaml

from finetune.machines import open_launch
from finetune.reward import RewardWeights, reward_answer
from finetune.row_lengths import count_tokens, fit_rows
from finetune.stage_arguments import StageArguments, parse_stage, write_help
from finetune.stage_data import StageData, count_scenarios, load_stage_data
from finetune.stage_run import (
    SHAPES_WEIGHTS,
    build_run_header,
    flush_denormals,
    open_run,
    quiet_libraries,
    share,
    train_to_the_end,
)
from finetune.starting_point import build_peft_config, check_release, check_vocabulary, load_model, load_tokenizer
from icd10cm.codeset import CodeSet
from icd10cm.config import check_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError, DataError
from icd10cm.prompts import SEPARATOR, build_prompt

if TYPE_CHECKING:
    from trl import GRPOConfig, ModelConfig

_SHAPES_WEIGHTS = SHAPES_WEIGHTS | {
    "beta",
    "delta",
    "epsilon",
    "epsilon_high",
    "generation_batch_size",
    "generation_kwargs",
    "importance_sampling_level",
    "loss_type",
    "mask_truncated_completions",
    "max_completion_length",
    "min_p",
    "num_generations",
    "num_iterations",
    "scale_rewards",
    "shuffle_dataset",
    "steps_per_generation",
    "temperature",
    "top_k",
    "top_p",
}


@dataclass
class ReinforceArguments(StageArguments):
    """What the stage samples answers to, and what they earn."""

    stage: str = field(default="reinforce", metadata={"help": "reinforce"})
    max_length: int | None = field(
        default=None, metadata={"help": "most tokens of a row, the right answer included (default: what the model reads)"}
    )
    reward: dict | str | None = field(
        default=None,
        metadata={"help": f'weights {", ".join(RewardWeights.model_fields)} of the reward, such as {{"category": 0.3}}'},
    )
    constrained: bool = field(default=True, metadata={"help": "sample existing codes only, as a served model does"})
    leak_weight: float = field(
        default=1.0,
        metadata={
            "help": "weight in the loss of what a constrained model would write outside the code set; keeps it there unaided"
        },
    )
    code_file: str | None = field(default=None, metadata={"help": "CMS code file of the release (default: the embedded one)"})

    taught: ClassVar = ("reinforce",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if isinstance(self.reward, str):
            self.reward = yaml.safe_load(self.reward)


def main(argv: Sequence[str] | None = None) -> None:
    """Train the stage, or say what it would train."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or {"-h", "--help"} & set(arguments):
        print(write_help(ReinforceArguments, "finetune.grpo", "GRPOConfig"))
        return
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    quiet_libraries()
    _, arguments = open_launch(arguments)
    stage, grpo, model, weights = parse_arguments(arguments)
    data = load_stage_data(Path(stage.data), stage.scenarios, stage.repeats_of, stage.validation_size, stage.lists)
    check_release(str(model.model_name_or_path), stage.stage, Path(stage.data), data.release)
    codes = CodeSet.load(stage.code_file)
    check_codes(data, codes, Path(stage.data))
    if stage.dry_run:
        describe_run(stage, grpo, model, data, codes, weights)
    else:
        train(stage, grpo, model, data, codes, weights)


def parse_arguments(argv: Sequence[str]) -> tuple[ReinforceArguments, GRPOConfig, ModelConfig, RewardWeights]:
    """Read `--config FILE` and overrides. Raises `ConfigError`."""
    from trl import GRPOConfig

    stage, grpo, model = parse_stage(argv, ReinforceArguments, GRPOConfig)
    if stage.from_scratch:
        raise ConfigError("'from_scratch': rewards teach nothing to an untrained model; give model_name_or_path")
    if grpo.use_vllm and stage.constrained:
        raise ConfigError("'use_vllm': only the sampling of transformers is kept to codes here; set constrained false for vLLM")
    return stage, grpo, model, check_settings(RewardWeights, cast(dict[str, Any], stage.reward or {}), "reward")


def check_codes(data: StageData, codes: CodeSet, folder: Path) -> None:
    """Raise `DataError` where a right answer could never be given, since the release lacks its code."""
    wrong = next((e for e in [*data.train, *data.validation] if not all(map(codes.is_billable, e.codes))), None)
    if wrong:
        which = "" if data.restricted else f" ({SEPARATOR.join(wrong.codes)})"
        raise DataError(
            f"{folder}: {data.name_example(wrong)}{which} has a code that release {codes.release} lacks; "
            "set code_file to the release of the data"
        )


@flush_denormals()
def train(
    stage: ReinforceArguments,
    grpo: GRPOConfig,
    model_config: ModelConfig,
    data: StageData,
    codes: CodeSet,
    weights: RewardWeights,
) -> None:
    """Train and save the checkpoint folder with its `run.json` and model card; go on where an earlier run stopped."""
    from finetune.reinforce_trainer import ReinforceTrainer

    folder, processes = Path(str(grpo.output_dir)), grpo.distributed_state
    header = build_run_header("finetune.grpo", stage, grpo, model_config, data, _SHAPES_WEIGHTS)
    header |= {"reward": weights.model_dump(), "codes_release": codes.release}
    previous = share(processes, lambda: open_run(folder, stage, header))
    if previous.finished:
        say(f"{folder}: already trained with these settings; to train again add --on_existing delete")
        return
    tokenizer = load_tokenizer(model_config)
    model = load_model(model_config)
    check_vocabulary(model, tokenizer, str(model_config.model_name_or_path))
    with processes.main_process_first():
        rows, _, _ = fit_rows(data, tokenizer, _find_limit(stage, grpo, model.config), stage.too_long)
    grpo.eval_on_start = grpo.eval_strategy != "no"
    trainer = ReinforceTrainer(
        model=model,
        args=grpo,
        examples=rows,
        validation_examples=data.validation,
        reward=lambda text, wanted: reward_answer(text, wanted, codes, weights),
        codes=codes.codes if stage.constrained else None,
        leak_weight=stage.leak_weight,
        processing_class=tokenizer,
        peft_config=build_peft_config(model_config),
    )
    train_to_the_end(trainer, stage, header, previous, rows)


def describe_run(
    stage: ReinforceArguments,
    grpo: GRPOConfig,
    model_config: ModelConfig,
    data: StageData,
    codes: CodeSet,
    weights: RewardWeights,
) -> None:
    """Print what a run would do: counts, steps, answers sampled, and what some answers to one example would earn."""
    from transformers import AutoConfig

    from finetune.starting_point import find_config_folder

    tokenizer = load_tokenizer(model_config)
    config = AutoConfig.from_pretrained(find_config_folder(str(model_config.model_name_or_path)))
    limit = _find_limit(stage, grpo, config)
    kept, tokens, n_over = fit_rows(data, tokenizer, limit, stage.too_long)
    n_answers = grpo.per_device_train_batch_size * grpo.gradient_accumulation_steps * grpo.world_size
    n_texts = max(n_answers // cast(int, grpo.num_generations), 1)
    steps_per_epoch = len(kept) * grpo.num_iterations // n_texts
    steps = grpo.max_steps if grpo.max_steps > 0 else int(steps_per_epoch * grpo.num_train_epochs)
    scenarios = ", ".join(f"{count:,} {scenario}" for scenario, count in count_scenarios(kept).items())
    rows = {
        "stage": stage.stage,
        "model": model_config.model_name_or_path,
        "release": f"ICD-10-CM {codes.release}, {len(codes.codes):,} codes; sampling kept to them: {stage.constrained}",
        "data": f"{len(kept):,} texts per epoch ({scenarios}), {len(data.validation):,} for validation",
        "tokens": f"longest {max(count_tokens(tokens))} of {limit}, {n_over} too long; answers to {grpo.max_completion_length}",
        "steps": f"{steps:,}, {steps_per_epoch:,} per epoch, {n_texts} texts with {grpo.num_generations} answers each, "
        f"{grpo.world_size} process(es)",
        "reward": ", ".join(f"{name} {value:g}" for name, value in weights.model_dump().items()),
        "output": grpo.output_dir,
    }
    for name, value in rows.items():
        print(f"{name:<7} {value}")
    if data.restricted:
        print("\nNo text is shown: the texts are restricted.")
        return
    example = kept[0]
    prompt = tokenizer.apply_chat_template(build_prompt(example.text), tokenize=False, add_generation_prompt=True)
    print(f"\nOne text, and what answers to it would earn:\n{prompt}")
    right = SEPARATOR.join(example.codes)
    for answer in (right, example.codes[0][:3], SEPARATOR.join([right, example.codes[0]]), "high blood pressure"):
        print(f"{reward_answer(answer, example.codes, codes, weights):6.2f}  {answer}")


def _find_limit(stage: ReinforceArguments, grpo: GRPOConfig, config: Any) -> int:
    """Return the most tokens of a row: a prompt of that length leaves room for the longest answer."""
    room = int(config.get_text_config().max_position_embeddings) - cast(int, grpo.max_completion_length)
    return min(stage.max_length or room, room)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
