"""finetune.sft under FSDP2 without a GPU: accelerate splits no model on what it calls a CPU, so it is told of an accelerator.

Everything after that is real: torch's own fully_shard on CPU tensors, gloo between the processes.
"""

from __future__ import annotations

import os

from accelerate.state import PartialState
from accelerate.utils import DistributedType

from finetune import machines, sft

if __name__ == "__main__":
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    PartialState._prepare_backend = lambda self, *args, **kwargs: ("gloo", DistributedType.MULTI_GPU)
    machines.check_gpus = lambda run: None
    raise SystemExit(sft.run())
