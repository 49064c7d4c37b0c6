"""Llama's forward pass in NumPy, in float32 whatever its weights are stored in, so that any CPU will do."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from icd10cm.errors import CheckpointError
from serving.checkpoint import Checkpoint, find_weights, read_json

LARGEST_BYTES = 64 * 2**20
"""Size of the weights from which torch is worth its imports."""
_READERS = {
    "F32": lambda data: np.frombuffer(data, "<f4"),
    "F16": lambda data: np.frombuffer(data, "<f2").astype(np.float32),
    # the upper half of a float32
    "BF16": lambda data: (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4"),
}
_NEEDED = ("tokenizer.json", "chat_template.jinja")
_PLAIN = {"model_type": "llama", "hidden_act": "silu", "attention_bias": False, "mlp_bias": False}


class Past(NamedTuple):
    """What the attention keeps of the tokens read: for each layer keys and values, each (heads, tokens, head size)."""

    layers: list[tuple[np.ndarray, np.ndarray]]
    n_tokens: int = 0


class _Layer(NamedTuple):
    """Weights of one layer; each matrix is (outputs, inputs)."""

    before_attention: np.ndarray
    queries: np.ndarray
    keys: np.ndarray
    values: np.ndarray
    attended: np.ndarray
    before_network: np.ndarray
    gate: np.ndarray
    up: np.ndarray
    down: np.ndarray


_NAMES = (
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.up_proj",
    "mlp.down_proj",
)
"""The fields of `_Layer` as the weights are named."""


def can_read(checkpoint: Checkpoint) -> bool:
    """Whether `Llama` computes this checkpoint as transformers does: a plain Llama, small, neither quantised nor an adapter."""
    if checkpoint.base or checkpoint.quantization or len(checkpoint.weights) != 1:
        return False
    (weights,) = checkpoint.weights
    config = read_json(checkpoint.path / "config.json")
    rope = config.get("rope_parameters") or {}
    return (
        all((checkpoint.path / name).is_file() for name in _NEEDED)
        and weights.suffix == ".safetensors"
        and weights.stat().st_size <= LARGEST_BYTES
        and all(config.get(key, value) == value for key, value in _PLAIN.items())
        and rope.get("rope_type", "default") == "default"
        and not config.get("rope_scaling")
        and checkpoint.dtype in ("float32", "float16", "bfloat16")
    )


class Llama:
    """A checkpoint that `can_read` accepts."""

    def __init__(self, folder: Path):
        """Read configuration and weights. Raises `CheckpointError`."""
        config = read_json(folder / "config.json")
        (file,) = find_weights(folder)
        weights = _Weights(file)
        self._heads = int(config["num_attention_heads"])
        self._groups = int(config.get("num_key_value_heads") or self._heads)
        self._head_size = int(config.get("head_dim") or config["hidden_size"] // self._heads)
        self._epsilon = np.float32(config.get("rms_norm_eps", 1e-6))
        theta = float((config.get("rope_parameters") or config).get("rope_theta", 10000.0))
        self._frequencies = 1.0 / theta ** (np.arange(0, self._head_size, 2, dtype=np.float32) / self._head_size)
        self._layers = [
            _Layer(*(weights[f"model.layers.{number}.{name}.weight"] for name in _NAMES))
            for number in range(int(config["num_hidden_layers"]))
        ]
        self._embedding, self._norm = weights["model.embed_tokens.weight"], weights["model.norm.weight"]
        self._head = self._embedding if config.get("tie_word_embeddings") else weights["lm_head.weight"]

    def read(self, tokens: list[int], past: Past | None = None) -> tuple[np.ndarray, Past]:
        """Return the logits after each of `tokens`, (tokens, vocabulary), and what to keep for those that follow."""
        start = past.n_tokens if past else 0
        angles = np.outer(np.arange(start, start + len(tokens), dtype=np.float32), self._frequencies)
        turn = np.cos(angles), np.sin(angles)
        hidden = self._embedding[tokens]
        kept = []
        for number, layer in enumerate(self._layers):
            added, known = self._attend(self._scale(hidden, layer.before_attention), layer, turn, past and past.layers[number])
            hidden = hidden + added
            kept.append(known)
            scaled = self._scale(hidden, layer.before_network)
            gate = scaled @ layer.gate.T
            with np.errstate(over="ignore"):
                gate /= 1.0 + np.exp(-gate)
            hidden = hidden + (gate * (scaled @ layer.up.T)) @ layer.down.T
        return self._scale(hidden, self._norm) @ self._head.T, Past(kept, start + len(tokens))

    def _attend(self, hidden: np.ndarray, layer: _Layer, turn: Any, known: Any) -> tuple[np.ndarray, Any]:
        """Return what attention adds to `hidden` (tokens, width), and keys and values of all tokens so far."""
        queries = _turn(self._split(hidden @ layer.queries.T), turn)
        keys, values = _turn(self._split(hidden @ layer.keys.T), turn), self._split(hidden @ layer.values.T)
        if known is not None:
            keys, values = np.concatenate([known[0], keys], 1), np.concatenate([known[1], values], 1)
        n_new, n_all = len(hidden), keys.shape[1]
        grouped = queries.reshape(self._groups, -1, n_new, self._head_size)
        scores = grouped @ keys[:, None].swapaxes(2, 3) * np.float32(self._head_size**-0.5)
        scores += np.triu(np.full((n_new, n_all), -np.inf, np.float32), 1 + n_all - n_new)
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = (shares @ values[:, None]).reshape(self._heads, n_new, self._head_size)
        return mixed.swapaxes(0, 1).reshape(n_new, -1) @ layer.attended.T, (keys, values)

    def _split(self, rows: np.ndarray) -> np.ndarray:
        """Return (tokens, heads * head size) as (heads, tokens, head size)."""
        return rows.reshape(len(rows), -1, self._head_size).swapaxes(0, 1)

    def _scale(self, rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
        return rows / np.sqrt(np.square(rows).mean(-1, keepdims=True) + self._epsilon) * weights


def _turn(rows: np.ndarray, turn: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Return queries or keys (heads, tokens, head size) turned by the places of their tokens."""
    (cosine, sine), (first, second) = turn, np.split(rows, 2, axis=-1)
    return np.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)


class _Weights:
    """The matrices of a safetensors file by name, as float32."""

    def __init__(self, file: Path):
        from safetensors import SafetensorError, deserialize

        self._file = file
        try:
            self._stored = dict(deserialize(file.read_bytes()))
        except SafetensorError as error:
            raise CheckpointError(f"{file}: weights cannot be read ({error}); was training or the download cut off?") from None

    def __getitem__(self, name: str) -> np.ndarray:
        stored = self._stored.get(name)
        if stored is None or stored["dtype"] not in _READERS:
            raise CheckpointError(f"{self._file}: has no {name} of {', '.join(_READERS)}; the checkpoint is damaged")
        return _READERS[stored["dtype"]](stored["data"]).reshape(stored["shape"])
