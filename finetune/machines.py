"""How many processes train and what is split among them, as `accelerate launch` says in the environment of each."""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import MutableMapping, Sequence
from pathlib import Path
from typing import NamedTuple

from icd10cm.config import read_yaml
from icd10cm.errors import ConfigError

_LAUNCHED = (
    *("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_FSDP"),
)
_SECONDS_FOR_THE_FIRST = 20
_YES = ("true", "1", "yes")


class Machines(NamedTuple):
    """The processes of a run.

    Attributes:
        processes: of all machines together.
        here: on this machine.
        rank: of this process among all.
        local_rank: of this process on its machine.
        sharding: what is split among the processes: `none`, `zero1`, `zero2`, `zero3` or `fsdp2`.
        offloads_optimizer: the optimizer's states are in the memory of the host.
        offloads_weights: the weights too.
        on_cpu: no GPU is asked for.
    """

    processes: int = 1
    here: int = 1
    rank: int = 0
    local_rank: int = 0
    sharding: str = "none"
    offloads_optimizer: bool = False
    offloads_weights: bool = False
    on_cpu: bool = False


def read_machines(arguments: Sequence[str], environment: MutableMapping[str, str] = os.environ) -> Machines:
    """Return what `accelerate launch` left in the environment; one process when it left nothing."""
    plain = Machines(
        processes=int(environment.get("WORLD_SIZE", "1")),
        here=int(environment.get("LOCAL_WORLD_SIZE", "1")),
        rank=int(environment.get("RANK", "0")),
        local_rank=int(environment.get("LOCAL_RANK", "0")),
        on_cpu=_asks_cpu(arguments, environment),
    )
    if _is_set(environment, "ACCELERATE_USE_DEEPSPEED"):
        file = Path(environment.get("ACCELERATE_DEEPSPEED_CONFIG_FILE", ""))
        zero = json.loads(file.read_text(encoding="utf-8")).get("zero_optimization", {}) if file.is_file() else {}
        moved = [name for name in ("offload_optimizer", "offload_param") if zero.get(name, {}).get("device", "none") != "none"]
        return plain._replace(
            sharding=f"zero{zero['stage']}" if zero.get("stage") else "none",
            offloads_optimizer="offload_optimizer" in moved,
            offloads_weights="offload_param" in moved,
        )
    if _is_set(environment, "ACCELERATE_USE_FSDP"):
        moved_all = _is_set(environment, "FSDP_OFFLOAD_PARAMS")
        return plain._replace(sharding="fsdp2", offloads_optimizer=moved_all, offloads_weights=moved_all)
    return plain


def open_launch(arguments: Sequence[str]) -> tuple[Machines, list[str]]:
    """Return the processes of a run and its arguments; a dry run becomes one process that asks for no GPU.

    Raises:
        ConfigError: fewer GPUs than processes.
        SystemExit: this process has nothing to do in a dry run.
    """
    machines = read_machines(arguments)
    if not {"--dry-run", "--dry_run"} & set(arguments):
        check_gpus(machines)
        return machines, list(arguments)
    if machines.rank:
        raise SystemExit(0)
    leave_launch()
    return machines, [*arguments, "--use_cpu", "true"]


def check_whole(machines: Machines, key: str) -> None:
    """Refuse what needs every weight whole in each process. Raises `ConfigError` where weights or their gradients are split."""
    if machines.sharding != "none":
        raise ConfigError(
            f"{key!r} needs whole matrices in each process, and {machines.sharding} splits them: take an accelerate file "
            "without DeepSpeed and FSDP (configs/accelerate/one_gpu.yaml, ddp_4gpu.yaml), or leave it out"
        )


def leave_launch(environment: MutableMapping[str, str] = os.environ) -> None:
    """Make this process one of its own, that waits for no other: enough to say what a run would do."""
    for name in _LAUNCHED:
        environment.pop(name, None)


def check_gpus(machines: Machines) -> None:
    """Stop before any work when this machine has fewer GPUs than processes; its first process says why.

    Raises:
        ConfigError: too few GPUs, and the run does not ask for the CPU.
        SystemExit: the same, in the other processes.
    """
    if machines.here == 1 or machines.on_cpu:
        return
    import torch

    n_gpus = torch.cuda.device_count()
    if n_gpus >= machines.here:
        return
    if machines.local_rank:
        # The launcher ends all processes when one has ended, so the others leave the first the time to speak.
        time.sleep(_SECONDS_FOR_THE_FIRST)
        raise SystemExit(2)
    remedy = "take configs/accelerate/cpu.yaml and --use_cpu true"
    if n_gpus:
        remedy = f"add --num_processes {n_gpus} to accelerate launch, or take configs/accelerate/one_gpu.yaml"
    has = f"{n_gpus or 'no'} GPU{'s' if n_gpus > 1 else ''}"
    raise ConfigError(f"the accelerate file starts {machines.here} processes on this machine, which has {has}; {remedy}")


def _asks_cpu(arguments: Sequence[str], environment: MutableMapping[str, str]) -> bool:
    """Whether a run is to use the CPU: by the command line, its own file, or accelerate's."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config")
    parser.add_argument("--use_cpu", "--use-cpu", nargs="?", const="true")
    given, _ = parser.parse_known_args(list(arguments))
    if given.use_cpu is not None:
        return given.use_cpu.lower() in _YES
    in_file = given.config and Path(given.config).is_file() and read_yaml(Path(given.config)).get("use_cpu")
    return bool(in_file) or _is_set(environment, "ACCELERATE_USE_CPU")


def _is_set(environment: MutableMapping[str, str], name: str) -> bool:
    return environment.get(name, "").lower() in _YES
