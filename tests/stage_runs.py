"""Train small stages as a user starts them: through accelerate, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TITLES = {
    "E11.621": "Type 2 diabetes mellitus with foot ulcer",
    "I10": "Essential (primary) hypertension",
    "J18.9": "Pneumonia, unspecified organism",
    "N39.0": "Urinary tract infection, site not specified",
}
TINY = "vocab_size: 400\nhidden_size: 64\nintermediate_size: 128\nnum_hidden_layers: 2\nnum_attention_heads: 2\n"


def start(
    *arguments: str,
    config: str = "cpu",
    module: str = "finetune.sft",
    options: tuple[str, ...] = (),
    within: tuple[str, ...] = (),
    **environment: str,
) -> subprocess.Popen[str]:
    """Start `accelerate launch` in a process group of its own.

    Args:
        arguments: of the stage.
        config: accelerate file, a name in `configs/accelerate/`.
        module: entry.
        options: of `accelerate launch`.
        within: a command that runs the command.
        environment: variables beside those of this process; a process has one thread.
    """
    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", f"configs/accelerate/{config}.yaml"]
    return subprocess.Popen(
        [*within, *command, *options, "-m", module, *arguments],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def launch(*arguments: str, timeout: int = 300, **how: str) -> subprocess.CompletedProcess[str]:
    """Start a stage, wait for it, and return what it wrote."""
    process = start(*arguments, **how)
    try:
        output, errors = process.communicate(timeout=timeout)
    finally:
        process.kill()
    return subprocess.CompletedProcess(process.args, process.returncode, output, errors)
