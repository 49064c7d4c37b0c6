"""Which checkpoint answers where none is named: the embedded one where the checkout has it, otherwise the demo's.

ICDTUNE_MODEL=outputs/demo/stage2/model icdtune code "T2DM w/ foot ulcer"    # another one, for every command
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serving.checkpoint import Checkpoint

EMBEDDED_MODEL = Path(__file__).parent / "embedded_model"
DEMO_MODEL = Path("outputs/demo/stage2/model")
MODEL_VARIABLE = "ICDTUNE_MODEL"


def find_model(named: Path | None = None) -> Path:
    """Return the checkpoint folder to use: the one named, else that of `ICDTUNE_MODEL`, the embedded one, the demo's.

    Whether it is there, `serving.checkpoint.check_checkpoint` says.
    """
    if named is not None:
        return named
    if os.environ.get(MODEL_VARIABLE):
        return Path(os.environ[MODEL_VARIABLE])
    return next((folder for folder in (EMBEDDED_MODEL, DEMO_MODEL) if folder.exists()), EMBEDDED_MODEL)


def explain_absence(folder: Path) -> str:
    """Return why there may be no checkpoint in `folder`, and what to do."""
    if folder == EMBEDDED_MODEL:
        return f"no such folder; name a checkpoint folder (--model), or let `make demo` write one to {DEMO_MODEL}"
    return "no such checkpoint folder; `finetune.sft` writes one, `hf download NAME --local-dir DIR` fetches one"


def describe_model(checkpoint: Checkpoint) -> str:
    """Return in a few words which model this is: `the embedded one (6.0 M parameters, release 2026)`."""
    n_parameters = _count_parameters(checkpoint)
    size = [f"{n_parameters / 1e6:,.1f} M parameters"] if n_parameters else []
    facts = [*size, *([f"release {checkpoint.release}"] if checkpoint.release else [])]
    name = "the embedded one" if checkpoint.path == EMBEDDED_MODEL else str(checkpoint.path)
    return f"{name} ({', '.join(facts)})" if facts else name


def _count_parameters(checkpoint: Checkpoint) -> int:
    """Return how many numbers the weights hold, by the headers of their files; 0 where these do not say."""
    if checkpoint.quantization or any(file.suffix != ".safetensors" for file in checkpoint.weights):
        return 0
    from safetensors import SafetensorError, safe_open

    total = 0
    for file in checkpoint.weights:
        try:
            with safe_open(file, framework="numpy") as weights:
                total += sum(math.prod(weights.get_slice(name).get_shape()) for name in weights.keys())  # noqa: SIM118
        except SafetensorError:
            return 0
    return total
