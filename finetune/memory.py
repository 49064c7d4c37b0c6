"""Memory that a run will need on each GPU, estimated from the model's shape before any of it is loaded.

    total = weights + gradients + optimizer + activations + logits + 1 GB for CUDA itself

With P parameters, T of them trained, N processes, h the hidden, k the key/value and f the feed-forward width, in bytes:

- DeepSpeed with bf16 (ZeRO, Rajbhandari et al. 2020, arXiv:1910.02054, section 3): weights 2P, gradients 2T, optimizer
  (4 + A)T: a float32 copy, and the optimizer's own states. ZeRO-1 divides the optimizer by N, ZeRO-2 the gradients too,
  ZeRO-3 the weights too, of which two layers are whole at a time.
- FSDP2 keeps float32 shards: weights 4P/N, gradients 4T/N, optimizer AT/N, and in bf16 what is whole at a time: two layers,
  the embeddings.
- Otherwise the weights are of the width that `dtype` says, the gradients like them, once more for the buckets of DDP, and
  autocast to bf16 keeps copies of the float32 matrices.
- A is 8 for Adam (two float32 states), 2 for Adam in 8 bits, 0 for plain SGD.
- LoRA (Hu et al. 2022, arXiv:2106.09685): T are the adapters' parameters, in float32. 4 bits (QLoRA, Dettmers et al. 2023,
  arXiv:2305.14314): 0.5 bytes a weight of the linear layers and a float32 for each 64 of them, a quarter of it when nested.
- Activations, per token and layer (the way of counting: Korthikanti et al. 2022, arXiv:2205.05198, here for transformers'
  Llama and an attention that keeps no matrix of scores): 20h + 4k + 8f in bf16, 32h + 2k + 8f under autocast,
  32h + 8k + 16f in float32; a test counts them in a real backward pass. With checkpointing a layer keeps its input, and one
  layer at a time the rest.
- Logits of the kept positions (those of the completion): vocabulary x 18: bf16, float32, log-probabilities, gradients.

The allocator's slack, buffers for communication and the caches of evaluations are not in it: leave a tenth free.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from finetune.machines import Machines

if TYPE_CHECKING:
    from trl import ModelConfig, SFTConfig

CUDA_BYTES = 1.0e9
_LOGIT_BYTES = 18
_STATE_BYTES = {"adam": 8, "rmsprop": 4, "adagrad": 4, "lion": 4, "adafactor": 0, "sgd": 0}
_TOKEN_BYTES = {"bfloat16": (20, 4, 8), "autocast": (32, 2, 8), "float32": (32, 8, 16)}


class ModelSize(NamedTuple):
    """What of a model decides its memory.

    Attributes:
        parameters: all; a tied matrix counts once.
        trained: those that get gradients.
        linear: those of the matrices in the layers, which 4 bits apply to and autocast copies.
        layers: number of them.
        hidden: width of the residual stream.
        key_value: width of the keys.
        feed_forward: width inside a layer.
        vocabulary: tokens.
    """

    parameters: int
    trained: int
    linear: int
    layers: int
    hidden: int
    key_value: int
    feed_forward: int
    vocabulary: int


def measure_model(model: Any, peft_config: Any = None) -> ModelSize:
    """Return the size of a Llama-like model, on the meta device too; `peft_config` puts adapters on it."""
    config = model.config
    parameters = sum(weights.numel() for weights in model.parameters())
    linear = sum(weights.numel() for weights in model.model.layers.parameters() if weights.dim() == 2)
    if peft_config:
        import torch
        from peft import get_peft_model

        with torch.device("meta"):
            model = get_peft_model(model, peft_config)
    return ModelSize(
        parameters=parameters,
        trained=sum(weights.numel() for weights in model.parameters() if weights.requires_grad),
        linear=linear,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        key_value=config.num_key_value_heads
        * (getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads),
        feed_forward=config.intermediate_size,
        vocabulary=config.vocab_size,
    )


def estimate_memory(
    size: ModelSize, sft: SFTConfig, model_config: ModelConfig, machines: Machines, longest: int, kept: int
) -> tuple[dict[str, float], float]:
    """Return what each process needs on its GPU, part by part, and what it needs of the host for what is offloaded, in bytes.

    Args:
        size: of the model.
        sft: batch, checkpointing, optimizer, precision.
        model_config: `dtype`, adapters, 4 bits.
        machines: processes and what they share out.
        longest: tokens of the longest row, as which all rows of a batch are counted.
        kept: positions of a row that logits are built for.
    """
    parts = _count_states(size, sft, model_config, machines)
    host = 0.0
    for name, moved in (("optimizer", machines.offloads_optimizer), ("weights", machines.offloads_weights)):
        if moved:
            whole = _count_whole_layers(size, machines) if name == "weights" else 0.0
            host += parts[name] - whole
            parts[name] = whole
    rows = sft.per_device_train_batch_size
    parts["activations"] = count_activations(
        size, rows * longest, _name_precision(sft, model_config, machines), sft.gradient_checkpointing
    )
    parts["logits"] = float(rows * kept * size.vocabulary * _LOGIT_BYTES)
    parts["CUDA"] = CUDA_BYTES
    return parts, host


def count_activations(size: ModelSize, tokens: int, precision: str, checkpointing: bool) -> float:
    """Return the bytes that `tokens` tokens keep for the backward pass; `precision` is `bfloat16`, `autocast` or `float32`."""
    of_hidden, of_key_value, of_feed_forward = _TOKEN_BYTES[precision]
    layer = of_hidden * size.hidden + of_key_value * size.key_value + of_feed_forward * size.feed_forward
    if not checkpointing:
        return float(tokens * size.layers * layer)
    return float(tokens * (size.layers * size.hidden * (2 if precision == "bfloat16" else 4) + layer))


def _count_states(size: ModelSize, sft: SFTConfig, model_config: ModelConfig, machines: Machines) -> dict[str, float]:
    n, sharding, trained = machines.processes, machines.sharding, size.trained
    states = _count_state_bytes(str(getattr(sft.optim, "value", sft.optim)))
    if sharding.startswith("zero"):
        stage, width = int(sharding[-1]), 2 if sft.bf16 else 4
        return {
            "weights": _count_base(size, model_config, width) / (n if stage >= 3 else 1) + _count_whole_layers(size, machines),
            "gradients": width * trained / (n if stage >= 2 else 1),
            "optimizer": (states + (4 if sft.bf16 else 0)) * trained / n,
        }
    if sharding == "fsdp2":
        weights = _count_base(size, model_config, 4) / n + _count_whole_layers(size, machines)
        return {"weights": weights, "gradients": 4 * trained / n, "optimizer": states * trained / n}
    width = 2 if model_config.dtype in ("bfloat16", "float16") else 4
    copies = 2 * size.linear if sft.bf16 and width == 4 else 0
    trained_width = 4 if model_config.use_peft else width
    return {
        "weights": float(_count_base(size, model_config, width) + copies),
        "gradients": float(trained_width * trained * (2 if n > 1 else 1)),
        "optimizer": float(states * trained),
    }


def _count_base(size: ModelSize, model_config: ModelConfig, width: int) -> float:
    """Return the bytes of all weights in one piece, adapters included."""
    adapters = 4 * size.trained if model_config.use_peft else 0
    if model_config.load_in_4bit:
        scales = 1 / 64 + 4 / (64 * 256) if model_config.use_bnb_nested_quant else 4 / 64
        return (0.5 + scales) * size.linear + 2 * (size.parameters - size.linear) + adapters
    return float(width * size.parameters + adapters)


def _count_whole_layers(size: ModelSize, machines: Machines) -> float:
    """Return the bytes in bf16 of what stands whole on a GPU for a while when the weights are split."""
    if machines.sharding not in ("zero3", "fsdp2"):
        return 0.0
    embeddings = size.parameters - size.linear if machines.sharding == "fsdp2" else 0
    return 2.0 * (2 * size.linear / size.layers + embeddings)


def _name_precision(sft: SFTConfig, model_config: ModelConfig, machines: Machines) -> str:
    if not sft.bf16:
        return "bfloat16" if model_config.dtype == "bfloat16" else "float32"
    is_cast = machines.sharding.startswith("zero") or model_config.dtype == "bfloat16"
    return "bfloat16" if is_cast else "autocast"


def _count_state_bytes(optimizer: str) -> int:
    if "8bit" in optimizer:
        return 2
    return next((width for name, width in _STATE_BYTES.items() if name in optimizer), 8)
