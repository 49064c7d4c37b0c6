"""Training tokens per second beside plain TRL with its defaults: the same tiny Llama, data, batch size and learning rate.

    python benchmarks/training_speed.py
    python benchmarks/training_speed.py --rows 2000 --runs 5

Both train the same rows from the same weights in turns, one process each; medians. "TRL" is `SFTTrainer` as it is, given
`prompt` and `completion` columns. "TRL, same settings" has the settings of the project's stages too (rows of like length
together, no gradient checkpointing, bf16 where the CPU has it), so that the two steps show what the settings and what the
loss alone give.
Time is that of the training loop, without the picture of the curves that is drawn at its end, a second or two in any run;
what comes before (tokenising) is given apart.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from data_gen.examples import Example, read_examples
from finetune.precision import has_bf16_arithmetic
from finetune.tiny import TinyLlama, write_tiny_checkpoint
from icd10cm.prompts import build_completion, build_prompt

WAYS = ("TRL defaults", "TRL, same settings", "icdtune")
_LOGGED = 5
_SHARED: dict[str, Any] = {
    "per_device_train_batch_size": 32,
    "learning_rate": 1e-3,
    "num_train_epochs": 1,
    "max_length": 512,
    "seed": 7,
}
_OURS = {"bf16": has_bf16_arithmetic(), "gradient_checkpointing": False, "train_sampling_strategy": "group_by_length"}


def main() -> None:
    """Print tokens per second, peak memory and the loss of each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("outputs/demo/data"), help="folder of data_gen.generate")
    parser.add_argument("--rows", type=int, default=2000, help="training rows (default: 2000)")
    parser.add_argument("--runs", type=int, default=5, help="runs of each way (default: 5)")
    parser.add_argument("--hidden", type=int, default=256, help="width of the Llama (default: 256)")
    parser.add_argument("--layers", type=int, default=4, help="its layers (default: 4)")
    parser.add_argument("--vocabulary", type=int, default=1536, help="its vocabulary (default: 1536)")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--model", type=Path, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.rows < _LOGGED * _SHARED["per_device_train_batch_size"]:
        parser.error(f"--rows {settings.rows} are too few: the loss is logged every {_LOGGED} steps")
    if settings.way:
        print(json.dumps(train(settings.way, settings.model, pick_rows(settings.data, settings.rows))))
        return
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch, "model")
        size = TinyLlama(
            vocab_size=settings.vocabulary,
            hidden_size=settings.hidden,
            intermediate_size=3 * settings.hidden,
            num_hidden_layers=settings.layers,
            num_attention_heads=max(1, settings.hidden // 32),
        )
        write_tiny_checkpoint(size, [row.text for row in pick_rows(settings.data, settings.rows)], model)
        found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
        for run in range(settings.runs):
            for way in WAYS:
                found[way].append(call(way, model, settings))
                print(f"run {run + 1}: {way}: {found[way][-1]['rate']:,.0f} tokens/s", file=sys.stderr)
    print_table(found)


def print_table(found: dict[str, list[dict[str, Any]]]) -> None:
    """Print medians, and the ratio of tokens per second to TRL's defaults, run by run."""
    print("| way | tokens/s | beside TRL defaults | peak memory GB | first loss | last loss | preparation s |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for way, runs in found.items():
        ratios = [run["rate"] / plain["rate"] for run, plain in zip(runs, found[WAYS[0]], strict=True)]
        cells = [statistics.median(run[name] for run in runs) for name in ("rate", "memory", "first", "last", "preparation")]
        rate, memory, first, last, preparation = cells
        print(
            f"| {way} | {rate:,.0f} | {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f}) | {memory:.2f} "
            f"| {first:.3f} | {last:.3f} | {preparation:.1f} |"
        )


def call(way: str, model: Path, settings: argparse.Namespace) -> dict[str, Any]:
    """Train in a process of its own, so that memory is its own too."""
    command = [
        sys.executable,
        __file__,
        "--way",
        way,
        "--model",
        str(model),
        "--data",
        str(settings.data),
        "--rows",
        str(settings.rows),
    ]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"TOKENIZERS_PARALLELISM": "false"})
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def pick_rows(folder: Path, number: int) -> list[Example]:
    """Return training rows spread over the file."""
    rows = read_examples(folder / "train.parquet")
    return rows[:: max(1, len(rows) // number)][:number]


def train(way: str, model: Path, rows: list[Example]) -> dict[str, Any]:
    """Train one epoch and return what was measured."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from finetune.curves import CurveWriter
    from finetune.tokens import load_tokens
    from finetune.trainer import CodeTrainer

    use_cpu = not torch.cuda.is_available()
    torch.set_flush_denormal(True)
    tokenizer = AutoTokenizer.from_pretrained(model)
    # TRL's default attention is transformers': sdpa; eager is what the stages for CPU say
    attention = "eager" if use_cpu and way != WAYS[0] else None
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        more = {} if way == WAYS[0] else _OURS
        args = SFTConfig(
            output_dir=folder,
            use_cpu=use_cpu,
            report_to="none",
            save_strategy="no",
            logging_steps=_LOGGED,
            **_SHARED,
            **more,
        )
        llama = AutoModelForCausalLM.from_pretrained(model, dtype="float32", attn_implementation=attention)
        if way == WAYS[2]:
            trainer: Any = CodeTrainer(
                model=llama,
                args=args,
                train_dataset=load_tokens(rows, tokenizer),
                processing_class=tokenizer,
                validation_examples=[],
            )
            trainer.remove_callback(CurveWriter)
        else:
            plain = Dataset.from_list(
                [{"prompt": build_prompt(row.text), "completion": build_completion(row.codes)} for row in rows]
            )
            trainer = SFTTrainer(model=llama, args=args, train_dataset=plain, processing_class=tokenizer)
        preparation = time.monotonic() - started
        started = time.monotonic()
        trainer.train()
        seconds = time.monotonic() - started
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
        n_tokens = sum(len(ids) for ids in trainer.train_dataset["input_ids"])
    memory = (
        torch.cuda.max_memory_allocated() / 1e9 if not use_cpu else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    )
    return {
        "rate": n_tokens / seconds,
        "memory": memory,
        "first": losses[0],
        "last": statistics.mean(losses[-4:]),
        "preparation": preparation,
    }


if __name__ == "__main__":
    main()
