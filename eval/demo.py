"""The whole idea on a laptop: examples, a Llama taught in two stages, what each stage brought, and a served answer.

icdtune demo
icdtune demo --output-dir outputs/demo --keep
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, FilePath

from eval.predictions import read_predictions
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import EngineError

DEFAULT_CONFIG = "configs/demo/demo.yaml"
_HIGHLIGHTS = ("exact_match",)


class DemoSettings(Settings):
    """Which configuration each step runs."""

    output_dir: Path = Field(Path("outputs/demo"), description="folder for everything the demo writes")
    data: FilePath = Field(Path("configs/demo/data.yaml"), description="configuration of data_gen.generate")
    stage1: FilePath = Field(Path("configs/demo/stage1.yaml"), description="configuration of finetune.sft, first stage")
    stage2: FilePath = Field(Path("configs/demo/stage2.yaml"), description="configuration of finetune.sft, second stage")
    accelerate: FilePath = Field(Path("configs/accelerate/cpu.yaml"), description="configuration of accelerate launch")
    serving: FilePath = Field(Path("configs/serving/vllm.yaml"), description="configuration of serving.serve")
    question: str = Field("T2DM w/ foot ulcer", description="what the served model is asked at the end")
    port: int = Field(8000, description="port of the server at the end; the next free one when it is taken")
    keep: bool = Field(False, description="leave the server up at the end, until Ctrl-C")


def main(argv: Sequence[str] | None = None) -> None:
    """Run every step; those that an earlier call finished are quick."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--config" not in arguments and Path(DEFAULT_CONFIG).is_file():
        arguments = ["--config", DEFAULT_CONFIG, *arguments]
    settings = load_settings(DemoSettings, arguments, doc=__doc__ or "", prog="icdtune demo")
    steps = list_steps(settings)
    started = time.monotonic()
    for number, (title, commands) in enumerate(steps, 1):
        say(f"\n[{number}/{len(steps) + 1}] {title}")
        step_started = time.monotonic()
        for command in commands:
            run_command(command)
        say(f"    {time.monotonic() - step_started:.0f} s")
    say(f"\n[{len(steps) + 1}/{len(steps) + 1}] Serving stage 2 with vLLM and asking it")
    ask_served_model(settings)
    say(f"\nAll in {(time.monotonic() - started) / 60:.1f} minutes.")


def list_steps(settings: DemoSettings) -> list[tuple[str, list[list[str]]]]:
    """Return what the demo does, step by step: a title and the commands, the same that a user would type."""
    out = settings.output_dir
    data, test = out / "data", out / "data" / "test.parquet"
    python = [sys.executable, "-m"]
    launch = [*python, "accelerate.commands.launch", "--config_file", str(settings.accelerate), "-m", "finetune.sft"]

    def measure(name: str, label: str, *engine: str) -> list[list[str]]:
        predictions = out / name / "predictions.jsonl"
        predict = [*python, "eval.predict", "--data", str(test), "--output", str(predictions), "--label", label, *engine]
        return [predict, [*python, "eval.score", str(predictions), "--output", str(out / name / "scores.json")]]

    def train(stage: str, config: Path, *more: str) -> list[str]:
        return [*launch, "--config", str(config), "--data", str(data), "--output_dir", str(out / stage / "model"), *more]

    first, second = str(out / "stage1" / "model"), str(out / "stage2" / "model")
    scores = [str(out / name / "scores.json") for name in ("stage1", "stage2", "floor")]
    return [
        (
            "Writing examples from ICD-10-CM: titles, and the ways people really write them",
            [[*python, "data_gen.generate", "--config", str(settings.data), "--output-dir", str(data)]],
        ),
        ("Stage 1: a Llama from scratch learns each code and its title", [train("stage1", settings.stage1)]),
        ("Measuring stage 1 on texts it never saw", measure("stage1", "stage 1", "--model", first)),
        (
            "Stage 2: reordered, abbreviated, misspelled texts and several conditions at once",
            [train("stage2", settings.stage2, "--model_name_or_path", first)],
        ),
        ("Measuring stage 2 on the same texts", measure("stage2", "stage 2", "--model", second)),
        (
            "Measuring the floor: the nearest title, without any training",
            measure("floor", "floor", "--engine", "floor", "--floor-codes", "data"),
        ),
        ("Drawing the report", [[*python, "eval.report", *scores, "--output", str(out / "report.html")]]),
    ]


def run_command(command: Sequence[str]) -> None:
    """Run one command of the demo; its progress goes to the terminal.

    Raises:
        EngineError: it failed; what it said stands above.
        KeyboardInterrupt: it was stopped with Ctrl-C.
    """
    environment = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", **os.environ}
    process = subprocess.Popen(command, env=environment)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()
        raise
    if status in (130, -2):
        raise KeyboardInterrupt
    if status:
        shown = " ".join(["python", *command[1:]])
        raise EngineError(f"this step ended with status {status}: {shown}; run icdtune demo again to go on from here")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
