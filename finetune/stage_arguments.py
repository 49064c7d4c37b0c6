"""The arguments of a training stage: ours beside TRL's own `SFTConfig` and `ModelConfig`, checked before anything starts."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import yaml
from pydantic import AfterValidator, ConfigDict, FilePath, create_model

from data_gen.examples import SCENARIOS
from finetune.precision import avoid_slow_bf16
from icd10cm.config import Settings, check_settings, read_yaml
from icd10cm.errors import ConfigError

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig

STAGES = {
    "initial": "every code and its title",
    "enhanced": "the ways clinicians really write them, titles rehearsed",
    "notes": "clinical notes",
    "update": "another release than the checkpoint's: what it adds and changes, the rest rehearsed",
    "reinforce": "a reward for the answers that the model itself gives (finetune.grpo)",
}
LISTS = {
    "whole": "as they stand",
    "conditions": "each condition that is plainly set apart by itself, once, as eval.predict reads them with --by-condition",
    "both": "whole, and their conditions",
}
TOO_LONG = ("error", "drop", "truncate")
ON_EXISTING = ("resume", "delete", "stop")


@dataclass
class StageArguments:
    """What a stage trains on, and what to do in the cases that TRL leaves open."""

    data: str = field(metadata={"help": "folder written by data_gen.generate"})
    stage: str = field(default="initial", metadata={"help": f"what the stage teaches: {', '.join(STAGES)}"})
    scenarios: list[str] | None = field(
        default=None, metadata={"help": "scenarios to train and validate on (default: every one in the data)"}
    )
    repeats: dict | str | None = field(
        default=None, metadata={"help": 'times each scenario is seen per epoch, such as {"base": 3} (default: once)'}
    )
    lists: str = field(
        default="whole",
        metadata={"help": "texts of several conditions: " + "; ".join(f"{way}: {what}" for way, what in LISTS.items())},
    )
    from_scratch: str | None = field(
        default=None, metadata={"help": "YAML with the size of a Llama to build, instead of model_name_or_path"}
    )
    validation_size: int = field(default=200, metadata={"help": "validation examples answered at each evaluation, at most"})
    too_long: str = field(
        default="error", metadata={"help": f"an example longer than max_length: {', '.join(TOO_LONG)} (always counted)"}
    )
    on_existing: str = field(
        default="resume", metadata={"help": f"when output_dir holds a run already: {', '.join(ON_EXISTING)}"}
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={
            "help": "stop after so many evaluations without a better metric_for_best_model (eval_exact_match unless it is "
            "said), and save the best checkpoint (default: train to the end and save the last)"
        },
    )
    muon: bool = field(
        default=False,
        metadata={"help": "Muon for the layers' matrices, AdamW for the rest: fewer steps from scratch, on whole weights"},
    )
    dry_run: bool = field(default=False, metadata={"help": "say what would be trained, show one example, and stop"})

    taught: ClassVar = tuple(stage for stage in STAGES if stage != "reinforce")
    """The stages of this entry."""

    def __post_init__(self) -> None:
        if isinstance(self.repeats, str):
            self.repeats = yaml.safe_load(self.repeats)

    @property
    def repeats_of(self) -> dict[str, int]:
        """Times each scenario is seen per epoch; once for those that are not named."""
        return {scenario: int(times) for scenario, times in cast(dict[str, int], self.repeats or {}).items()}


def parse_arguments(argv: Sequence[str] | None) -> tuple[StageArguments, SFTConfig, ModelConfig]:
    """Read `--config FILE` and overrides of `finetune.sft`, with HF's own key names. Raises `ConfigError`."""
    from trl import SFTConfig

    return parse_stage(argv, StageArguments, SFTConfig)


def parse_stage(argv: Sequence[str] | None, stage_class: type, trainer_class: type) -> tuple[Any, Any, Any]:
    """Read `--config FILE` and overrides into a stage's arguments, a config of TRL, and TRL's `ModelConfig`.

    Raises:
        ConfigError: one line that names the file and every unknown key, wrong type and missing file in it.
    """
    from trl import ModelConfig, TrlParser

    arguments = _spell_flags(list(sys.argv[1:] if argv is None else argv))
    classes: Any = (stage_class, trainer_class, ModelConfig)
    source, values = _collect_values(arguments)
    _check_values(classes, values, source)
    arguments += avoid_slow_bf16(values)
    parser = TrlParser(classes)
    try:
        stage, sft, model = parser.parse_args_and_config(arguments)
    except ValueError as error:
        raise ConfigError(f"{source}: {error}") from None
    _check_choices(stage, model, source)
    _check_quantization(model, source, stage.dry_run)
    _check_loggers(sft.report_to, source)
    _arrange_early_stopping(stage, sft, source)
    return stage, sft, model


def write_help(stage_class: Any = StageArguments, module: str = "finetune.sft", trainer_class: str = "SFTConfig") -> str:
    """Return `--help` without loading TRL: our own arguments, and where the others are."""
    rows = [f"  --{item.name:<16} {item.metadata['help']}" for item in dataclasses.fields(stage_class)]
    return "\n".join(
        [
            f"usage: accelerate launch --config_file FILE -m {module} --config FILE [--key value ...]",
            "",
            *rows,
            "",
            f"Every key of TRL's {trainer_class} and ModelConfig is a key too (learning_rate, num_train_epochs, use_peft ...).",
        ]
    )


def _spell_flags(arguments: list[str]) -> list[str]:
    """Accept `--dry-run` for `--dry_run`, and `--config=FILE`, which TRL's parser does not."""
    words: list[str] = []
    for argument in filter(None, arguments):
        key, given, value = argument.partition("=")
        if argument.startswith("--"):
            key = "--" + key[2:].replace("-", "_")
        words += [key, value] if given and key == "--config" else [key + given + value]
    return words


def _collect_values(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return where the arguments come from, and key -> value of the file with the command line laid over it."""
    source = "command line"
    values: dict[str, Any] = {}
    position = 0
    while position < len(arguments):
        flag = arguments[position]
        if not flag.startswith("--"):
            raise ConfigError(f"unexpected argument {flag!r}; every setting is --key value")
        key, has_value, inline = flag[2:].partition("=")
        given = [inline] if has_value else []
        position += 1
        while not has_value and position < len(arguments) and not arguments[position].startswith("--"):
            given.append(arguments[position])
            position += 1
        if key == "config":
            if not given:
                raise ConfigError("--config needs a file")
            source = given[0]
            values = {**read_yaml(Path(source)), **values}
        else:
            values[key] = True if not given else given[0] if len(given) == 1 else given
    return source, values


def _check_values(classes: Sequence[type], values: dict[str, Any], source: str) -> None:
    """Name every problem at once; TRL's parser would stop at the first, with a page of usage."""
    hints: dict[str, Any] = {}
    for dataclass_type in classes:
        known = typing.get_type_hints(dataclass_type)
        hints.update({item.name: (known[item.name], None) for item in dataclasses.fields(dataclass_type) if item.init})
    hints["data"] = (Annotated[str, AfterValidator(_check_data)], ...)
    hints["from_scratch"] = (FilePath | None, None)
    hints["scenarios"] = (list[str] | str | None, None)
    hints["output_dir"] = (str, ...)
    hints["lora_target_modules"] = (list[str] | str | None, None)
    hints["env"] = (dict[str, Any] | None, None)
    # Defaults of TRL's dataclasses are TRL's business, and its annotations name classes of its own.
    loose = ConfigDict(
        frozen=True, extra="forbid", validate_default=False, arbitrary_types_allowed=True, protected_namespaces=()
    )
    checker = create_model("StageKeys", __config__=loose, **hints)
    check_settings(cast(type[Settings], checker), values, source)


def _check_data(folder: str) -> str:
    if Path(folder).is_dir():
        return folder
    writers = [file for file in sorted(Path("configs").glob("d*/*.yaml")) if read_yaml(file).get("output_dir") == folder]
    command = f"python -m data_gen.generate --config {writers[0] if writers else 'FILE'}"
    raise ValueError(f"folder {folder!r} does not exist; {command} writes it")


def _check_choices(stage: StageArguments, model: ModelConfig, source: str) -> None:
    problems = [
        f"{key!r} should be one of {', '.join(allowed)}, not {value!r}"
        for key, value, allowed in (
            ("stage", stage.stage, stage.taught),
            ("lists", stage.lists, tuple(LISTS)),
            ("too_long", stage.too_long, TOO_LONG),
            ("on_existing", stage.on_existing, ON_EXISTING),
            *(("scenarios", scenario, SCENARIOS) for scenario in stage.scenarios or ()),
            *(("repeats", scenario, SCENARIOS) for scenario in stage.repeats_of),
        )
        if value not in allowed
    ]
    if stage.muon and (model.use_peft or "reinforce" in stage.taught):
        problems.append("'muon' is for supervised stages that train whole weights: leave it out here")
    if (stage.from_scratch is None) == (model.model_name_or_path is None):
        problems.append("give either 'model_name_or_path' or 'from_scratch'")
    elif model.model_name_or_path and _is_path(model.model_name_or_path) and not Path(model.model_name_or_path).is_dir():
        problems.append(
            f"'model_name_or_path': folder {model.model_name_or_path!r} does not exist; train the stage that writes it first"
        )
    if problems:
        count = f"{len(problems)} problems: " if len(problems) > 1 else ""
        raise ConfigError(f"{source}: {count}{'; '.join(problems)}")


def _check_quantization(model: ModelConfig, source: str, dry_run: bool) -> None:
    """Refuse 4 and 8 bit weights where they cannot be had, but for a dry run: they would fail late, with a page of text."""
    key = next((key for key in ("load_in_4bit", "load_in_8bit") if getattr(model, key)), None)
    if key is None:
        return
    if not model.use_peft:
        raise ConfigError(f"{source}: {key!r} trains an adapter on frozen weights: set use_peft true")
    if importlib.util.find_spec("bitsandbytes") is None and not dry_run:
        raise ConfigError(
            f"{source}: {key!r} needs the package bitsandbytes and a GPU; install it there, or leave {key!r} out for plain LoRA"
        )


def _check_loggers(names: Sequence[str] | str, source: str) -> None:
    """Refuse curves for a service whose package is not there; transformers would raise when training begins."""
    from transformers.integrations import get_available_reporting_integrations

    wanted = {names} if isinstance(names, str) else set(names)
    absent = sorted(wanted - {"none", "all", *get_available_reporting_integrations()})
    if absent:
        raise ConfigError(
            f"{source}: 'report_to': {', '.join(absent)} is not installed in this environment; pip install it, or say none"
        )


def _arrange_early_stopping(stage: StageArguments, sft: SFTConfig, source: str) -> None:
    """Set what transformers wants of a run that stops early; say what cannot be."""
    if stage.early_stopping_patience is None:
        return
    problems = []
    if stage.early_stopping_patience < 1:
        problems.append(f"'early_stopping_patience' should be 1 or more, not {stage.early_stopping_patience}")
    if sft.eval_strategy == "no":
        problems.append("'early_stopping_patience' needs evaluations: set eval_strategy to steps or epoch")
    elif sft.save_strategy != sft.eval_strategy or (sft.eval_strategy == "steps" and sft.save_steps % (sft.eval_steps or 1)):
        problems.append(
            "'early_stopping_patience' saves the best checkpoint: save_strategy and save_steps should be those of eval"
        )
    if problems:
        raise ConfigError(f"{source}: {'; '.join(problems)}")
    sft.load_best_model_at_end = True
    sft.metric_for_best_model = sft.metric_for_best_model or "eval_exact_match"
    if sft.greater_is_better is None:
        sft.greater_is_better = not sft.metric_for_best_model.endswith("loss")


def _is_path(name: str) -> bool:
    """Whether `name` can only be a folder: a model on the Hugging Face hub is `owner/name`."""
    return name.startswith((".", "/", "~", "outputs/")) or name.count("/") != 1
