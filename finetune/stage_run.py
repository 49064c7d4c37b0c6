"""What every training entry does around its trainer: the run's header, one process that decides, the end, a full disk."""

from __future__ import annotations

import dataclasses
import errno
import logging
import os
import shutil
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from data_gen.examples import Example
from finetune.model_card import write_model_card
from finetune.previous_run import PreviousRun, settle_previous_run
from finetune.stage_arguments import StageArguments
from finetune.stage_data import StageData, count_scenarios
from finetune.starting_point import list_weight_files
from icd10cm.entry import say
from icd10cm.run_header import build_header, write_json, write_text

if TYPE_CHECKING:
    from transformers import TrainingArguments
    from trl import ModelConfig

SHAPES_WEIGHTS = frozenset(
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

_FULL_DISK = ("no space left", "disk quota", "file write failed", "unexpected pos", "iostream error")
"""What safetensors and torch say of a full disk: neither raises `OSError`."""
_NO_ROOM = 2**20


@contextmanager
def flush_denormals() -> Iterator[None]:
    """Take numbers next to zero for zero.

    A small model that has learned its data has gradients of that size, with which a CPU is ten times slower.
    """
    import torch

    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


def build_run_header(
    entry: str,
    stage: StageArguments,
    trainer: TrainingArguments,
    model: ModelConfig,
    data: StageData,
    shaping: frozenset[str] = SHAPES_WEIGHTS,
) -> dict[str, Any]:
    """Return the header of an unfinished run; `shaping` are the keys of the trainer's config that it is recognised by."""
    of_trl = {key: value for key, value in trainer.to_dict().items() if key in shaping}
    settings = {**of_trl, **dataclasses.asdict(model), **dataclasses.asdict(stage)}
    start = [Path(stage.from_scratch)] if stage.from_scratch else list_weight_files(str(model.model_name_or_path))
    return build_header(entry, settings, [*data.files, *start], data.release, n_processes=trainer.world_size, finished=False)


def open_run(folder: Path, stage: StageArguments, header: dict[str, Any]) -> PreviousRun:
    """Settle what an earlier run left in `folder`, and leave this run's header there before any work."""
    previous = settle_previous_run(folder, stage.on_existing, header["settings"], header["inputs"], header["stage"])
    if not previous.finished:
        write_json(folder / "run.json", header)
    return previous


def share(processes: Any, work: Any) -> Any:
    """Do `work` in the main process only and return its result in all of them."""
    from accelerate.utils import broadcast_object_list

    result = [work() if processes.is_main_process else None]
    if processes.num_processes > 1:
        broadcast_object_list(result)
    return result[0]


@contextmanager
def name_full_disk(folder: Path) -> Iterator[None]:
    """Turn the libraries' own errors of a full disk into an `OSError` that an entry reports in one line."""
    from safetensors import SafetensorError

    try:
        yield
    except (SafetensorError, RuntimeError) as error:
        is_full = folder.is_dir() and shutil.disk_usage(folder).free < _NO_ROOM
        if not is_full and not any(sign in str(error).lower() for sign in _FULL_DISK):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from None


def train_to_the_end(
    trainer: Any, stage: StageArguments, header: dict[str, Any], previous: PreviousRun, rows: Sequence[Example]
) -> None:
    """Train, go on where an earlier run stopped, and leave the checkpoint, its card and the finished header.

    Args:
        trainer: ready to train.
        stage: whether to stop early.
        header: of `build_run_header`.
        previous: of `open_run`.
        rows: what is trained on.
    """
    from transformers import EarlyStoppingCallback

    folder = Path(str(trainer.args.output_dir))
    if stage.early_stopping_patience:
        trainer.add_callback(EarlyStoppingCallback(stage.early_stopping_patience))
    if previous.checkpoint:
        say(f"going on from {previous.checkpoint}")
    started = time.monotonic()
    with name_full_disk(folder):
        trainer.train(resume_from_checkpoint=str(previous.checkpoint) if previous.checkpoint else None)
        seconds = round(time.monotonic() - started, 1)
        trainer.save_model()
    if trainer.accelerator.is_main_process:
        n_parameters = trainer.accelerator.unwrap_model(trainer.model).num_parameters()
        header |= {"finished": True, "train_seconds": seconds, "steps": trainer.state.global_step, "n_parameters": n_parameters}
        header["history"] = trainer.state.log_history
        if stage.early_stopping_patience:
            header |= {"best_metric": trainer.state.best_metric, "best_step": trainer.state.best_global_step}
        write_text(folder / "README.md", write_model_card(header, count_scenarios(rows)))
        write_json(folder / "run.json", header)
        say(f"saved {folder} after {trainer.state.global_step} steps")
    trainer.accelerator.wait_for_everyone()
    # a process that ends with its group still open is aborted now and then, and the launcher calls a finished run failed
    trainer.accelerator.end_training()


def quiet_libraries() -> None:
    """Leave the progress bar and the evaluations to be seen: the libraries log a screenful at every start."""
    for name in ("transformers", "datasets", "trl", "accelerate", "httpx"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", message="TRL currently supports vLLM")
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
