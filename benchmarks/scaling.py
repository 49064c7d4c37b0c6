"""What more weights, more variants per code and more steps give: Llamas from scratch on one chapter, the same texts held out.

    python benchmarks/scaling.py                         # goes on where it was stopped
    python benchmarks/scaling.py --steps 20 --sizes 2M --variants 1 --output outputs/scaling_try

Every run learns titles and variants of the same codes in the same number of steps with the same batches and learning rate, and
answers the same texts. Sizes are compared at three variants per code and variation, numbers of variants at the middle size,
steps by what each run answers on its way. Tokens per second are those of training without its evaluations; the share of the
hardware's limit is six operations for each weight and token beside what torch's matrix products reach just before; phrases
per second are those of `eval.predict` with its start.
`scaling.json` and `scaling.png` are written to the output folder, the tables to standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).parent.parent))

from data_gen.examples import read_examples, write_examples
from icd10cm.processor import has_bf16_arithmetic
from icd10cm.run_header import write_json

SIZES: dict[str, dict[str, int]] = {
    "2M": {"hidden_size": 192, "intermediate_size": 576, "num_hidden_layers": 3, "num_attention_heads": 3},
    "6M": {"hidden_size": 320, "intermediate_size": 960, "num_hidden_layers": 4, "num_attention_heads": 5},
    "18M": {"hidden_size": 512, "intermediate_size": 1536, "num_hidden_layers": 5, "num_attention_heads": 8},
}
SHARED = {"vocab_size": 2048, "category_tokens": True, "max_position_embeddings": 256}
VARIANTS = (1, 3, 9)
MIDDLE = ("6M", 3)
SCENARIOS = ("base", "reordered", "abbreviated", "typo", "paraphrased")
_OPERATIONS = 6
_SPEED_STEPS = 20


def main() -> None:
    """Run what is missing, and write the tables and the picture of all."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/scaling"), help="folder (default: outputs/scaling)")
    parser.add_argument("--prefixes", nargs="+", default=["E"], help="codes to learn, by how they begin (default: E)")
    parser.add_argument("--sizes", nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--variants", nargs="+", type=int, choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--steps", type=int, default=500, help="steps of 64 rows (default: 500)")
    parser.add_argument("--sample", type=int, default=200, help="texts of each scenario to answer (default: 200)")
    settings = parser.parse_args()
    size, variants = MIDDLE
    pairs = {(name, variants) for name in settings.sizes} | {(size, number) for number in settings.variants}
    ordered = sorted(pairs, key=lambda pair: (pair[1], list(SIZES).index(pair[0])))
    found = [measure(name, number, settings) for name, number in ordered]
    write_json(settings.output / "scaling.json", {"runs": found, "steps": settings.steps, "prefixes": settings.prefixes})
    print_tables(found)
    draw(found, settings.output / "scaling.png")


def measure(size: str, variants: int, settings: argparse.Namespace) -> dict[str, Any]:
    """Train one Llama and answer with it, or read what an earlier call measured."""
    folder = settings.output / f"{size}_{variants}"
    record = folder / "measured.json"
    if record.is_file():
        return dict(json.loads(record.read_text(encoding="utf-8")))
    data = write_data(variants, settings)
    limit = measure_limit()
    speed = train(size, data, folder / "speed", [f"--max_steps={_SPEED_STEPS}", "--eval_strategy=no", "--save_strategy=no"])
    run = train(size, data, folder / "model", [f"--max_steps={settings.steps}"])
    answered = time.monotonic()
    predictions = folder / "test" / "predictions.jsonl"
    words = ["--model", folder / "model", "--data", data / "test.parquet", "--sample", settings.sample, "--output", predictions]
    call("eval.predict", *words, "--scenarios", *SCENARIOS, "--engine", "transformers")
    answered = time.monotonic() - answered
    call("eval.score", predictions, "--output", folder / "scores.json")
    scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))["scenarios"]
    rate = max(entry.get("num_tokens", 0) for entry in speed["history"]) / speed["train_seconds"]
    measured = {
        "size": size,
        "variants": variants,
        "n_parameters": run["n_parameters"],
        "n_rows": sum(row["n"] for row in scores.values()),
        "tokens_per_second": round(rate),
        "share_of_limit": round(_OPERATIONS * run["n_parameters"] * rate / limit, 3),
        "train_seconds": run["train_seconds"],
        "train_memory_gb": run["memory_gb"],
        "phrases_per_second": round(sum(row["n"] for row in scores.values()) / answered, 1),
        "exact_match": {name: scores[name]["exact_match"]["value"] for name in scores},
        "on_the_way": [[e["step"], e["eval_exact_match"]] for e in run["history"] if "eval_exact_match" in e],
    }
    write_json(record, measured)
    return measured


def write_data(variants: int, settings: argparse.Namespace) -> Path:
    """Return a data folder with so many variants of each kind and code in train; held-out texts are the same for all."""
    most = settings.output / f"data_{max(VARIANTS)}"
    if not (most / "run.json").is_file():
        asked = {name: max(VARIANTS) for name in SCENARIOS[1:]}
        words = ["--train-variants", json.dumps(asked), "--multiple", "{train: 0, validation: 0, test: 0}"]
        words += ["--note", "{train: 0, validation: 0, test: 0}", "--prior", "{}"]
        words += ["--prefixes", *settings.prefixes, "--output-dir", most]
        call("data_gen.generate", "--config", "configs/data/full.yaml", *words)
    folder = settings.output / f"data_{variants}"
    if folder == most or (folder / "train.parquet").is_file():
        return folder
    seen: Counter[tuple[str, tuple[str, ...]]] = Counter()
    rows = []
    for row in read_examples(most / "train.parquet"):
        seen[row.scenario, row.codes] += 1
        if row.scenario == "base" or seen[row.scenario, row.codes] <= variants:
            rows.append(row)
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("validation.parquet", "test.parquet"):
        (folder / name).write_bytes((most / name).read_bytes())
    write_examples(folder / "train.parquet", rows)
    return folder


def train(size: str, data: Path, folder: Path, words: list[str]) -> dict[str, Any]:
    """Return the header of a finished run of `finetune.sft`, with the memory of its process."""
    shape = folder.parent / "model.yaml"
    shape.parent.mkdir(parents=True, exist_ok=True)
    shape.write_text(yaml.safe_dump({**SHARED, **SIZES[size]}), encoding="utf-8")
    own = [f"--data={data}", f"--output_dir={folder}", f"--from_scratch={shape}", "--config=configs/sft/scaling.yaml"]
    memory = call(
        "accelerate.commands.launch", "--config_file", "configs/accelerate/cpu.yaml", "-m", "finetune.sft", *own, *words
    )
    return json.loads((folder / "run.json").read_text(encoding="utf-8")) | {"memory_gb": memory}


def call(module: str, *words: object) -> float:
    """Run one of the project's entries; return the most memory of a process in it, in GB."""
    process = subprocess.Popen([sys.executable, "-m", module, *map(str, words)], env=os.environ | {"HF_HUB_OFFLINE": "1"})
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{module} ended with status {process.returncode}")
    return round(usage.ru_maxrss / 1e6, 2)


def measure_limit() -> float:
    """Return the operations per second of torch's matrix products in the precision of the training, the best of ten."""
    import torch

    dtype = torch.bfloat16 if has_bf16_arithmetic() else torch.float32
    left, right = torch.randn(2048, 1024, dtype=dtype), torch.randn(1024, 1024, dtype=dtype)
    best = float("inf")
    for _ in range(10):
        started = time.perf_counter()
        left @ right
        best = min(best, time.perf_counter() - started)
    return 2 * 2048 * 1024 * 1024 / best


def print_tables(found: list[dict[str, Any]]) -> None:
    """Print accuracy and speed of every run, one Markdown table each."""
    print("| weights | variants | " + " | ".join(SCENARIOS) + " |\n|--:|--:|" + "--:|" * len(SCENARIOS))
    for run in found:
        cells = " | ".join(f"{100 * run['exact_match'][name]:.1f}" for name in SCENARIOS)
        print(f"| {run['n_parameters'] / 1e6:.1f} M | {run['variants']} | {cells} |")
    print("\n| weights | training tokens/s | share of the limit | training memory GB | phrases/s |\n|--:|--:|--:|--:|--:|")
    for run in found:
        if run["variants"] == MIDDLE[1]:
            print(
                f"| {run['n_parameters'] / 1e6:.1f} M | {run['tokens_per_second']:,} | {run['share_of_limit']:.0%} "
                f"| {run['train_memory_gb']} | {run['phrases_per_second']} |"
            )


def draw(found: list[dict[str, Any]], path: Path) -> None:
    """Write the three curves: by weights, by variants, by steps."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), dpi=120, layout="constrained")
    by_size, by_variants, by_steps = figure.subplots(1, 3)
    sizes = sorted((run for run in found if run["variants"] == MIDDLE[1]), key=lambda run: run["n_parameters"])
    numbers = sorted((run for run in found if run["size"] == MIDDLE[0]), key=lambda run: run["variants"])
    lowest = min(100 * run["exact_match"][name] for run in found for name in SCENARIOS)
    for name in SCENARIOS:
        by_size.plot([r["n_parameters"] / 1e6 for r in sizes], [100 * r["exact_match"][name] for r in sizes], "o-", label=name)
        by_variants.plot([r["variants"] for r in numbers], [100 * r["exact_match"][name] for r in numbers], "o-", label=name)
    for run in sizes:
        steps, shares = zip(*run["on_the_way"], strict=True)
        by_steps.plot(steps, [100 * share for share in shares], "o-", label=f"{run['n_parameters'] / 1e6:.1f} M weights")
    by_size.set(xscale="log", xlabel="weights, millions", ylabel="exact match, %")
    by_size.set_xticks([run["n_parameters"] / 1e6 for run in sizes], [f"{run['n_parameters'] / 1e6:.1f}" for run in sizes])
    by_size.minorticks_off()
    by_variants.set(xlabel="variants per code and variation", xticks=[run["variants"] for run in numbers])
    by_steps.set(xlabel="steps of 64 rows, validation slice")
    for axes in (by_size, by_variants, by_steps):
        axes.set_ylim(0 if axes is by_steps else lowest // 10 * 10, 101)
        axes.grid(alpha=0.25)
        axes.legend(frameon=False, fontsize="small")
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


if __name__ == "__main__":
    main()
