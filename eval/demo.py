"""The whole idea on a laptop: examples, a Llama taught in two stages, what each stage brought, and a served answer.

icdtune demo
icdtune demo --output-dir outputs/demo --keep
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from pydantic import Field, FilePath

from eval.scores_file import read_scores
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, check_settings, load_settings, read_yaml
from icd10cm.entry import run_entry, say
from icd10cm.errors import CheckpointError, EngineError
from serving.code import write_confidence
from serving.coding.backend import Backend
from serving.coding.coder import Coder
from serving.coding.local import LocalModel
from serving.coding.models import CodingRequest, CodingResponse
from serving.command import ServeSettings
from serving.default_model import EMBEDDED_MODEL, describe_model
from serving.process import find_free_port, start_server

DEFAULT_CONFIG = "configs/demo/demo.yaml"
EMBEDDED, OWN = "the embedded model", "the model of this demo"


class DemoSettings(Settings):
    """Which configuration each step runs."""

    output_dir: Path = Field(Path("outputs/demo"), description="folder for everything the demo writes")
    data: FilePath = Field(Path("configs/demo/data.yaml"), description="configuration of data_gen.generate")
    stage1: FilePath = Field(Path("configs/demo/stage1.yaml"), description="configuration of finetune.sft, first stage")
    stage2: FilePath = Field(Path("configs/demo/stage2.yaml"), description="configuration of finetune.sft, second stage")
    accelerate: FilePath = Field(Path("configs/accelerate/cpu.yaml"), description="configuration of accelerate launch")
    serving: FilePath = Field(Path("configs/serving/vllm.yaml"), description="configuration of serving.serve")
    questions: list[str] = Field(
        ["T2DM w/ foot ulcer", "COPD w/ acute exacerbation", "unspec afib"],
        min_length=1,
        description="what the embedded model is asked first, and beside it the served model at the end",
    )
    port: int = Field(8000, description="port of the server at the end; the next free one when it is taken")
    fresh: bool = Field(False, description="throw away what an earlier call wrote instead of going on from it")
    keep: bool = Field(False, description="leave the server up at the end, until Ctrl-C")


def main(argv: Sequence[str] | None = None) -> None:
    """Run every step; those that an earlier call finished are quick."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if "--config" not in arguments and Path(DEFAULT_CONFIG).is_file():
        arguments = ["--config", DEFAULT_CONFIG, *arguments]
    settings = load_settings(DemoSettings, arguments, doc=__doc__ or "", prog="icdtune demo")
    if settings.fresh:
        shutil.rmtree(settings.output_dir, ignore_errors=True)
    steps = list_steps(settings)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupt)
    started = time.monotonic()
    embedded = ask_embedded_model(settings.questions)
    for number, (title, commands) in enumerate(steps, 1):
        say(f"\n[{number}/{len(steps) + 1}] {title}")
        step_started = time.monotonic()
        for command in commands:
            run_command(command)
        say(f"    {time.monotonic() - step_started:.0f} s")
    say(f"\n[{len(steps) + 1}/{len(steps) + 1}] Serving stage 2 with vLLM and asking it")
    ask_served_model(settings, embedded)
    print(f"\n{write_table(settings.output_dir)}\n")
    print(f"report: {settings.output_dir / 'report.html'}    all in {(time.monotonic() - started) / 60:.1f} minutes")
    print("Decision support only: a certified coder decides.")


def list_steps(settings: DemoSettings) -> list[tuple[str, list[list[str]]]]:
    """Return what the demo does, step by step: a title and the commands, the same that a user would type."""
    out = settings.output_dir
    data, test = out / "data", out / "data" / "test.parquet"
    python = [sys.executable, "-m"]
    threads = ["--num_cpu_threads_per_process", str(os.cpu_count() or 1)]
    launch = [*python, "accelerate.commands.launch", "--quiet", "--config_file", str(settings.accelerate), *threads]
    launch += ["-m", "finetune.sft"]

    def predict(file: Path, predictions: Path, label: str, *engine: str) -> list[str]:
        return [*python, "eval.predict", "--data", str(file), "--output", str(predictions), "--label", label, *engine]

    def measure(name: str, label: str, *engine: str, validation: Path | None = None) -> list[list[str]]:
        predictions = out / name / "predictions.jsonl"
        score = [*python, "eval.score", str(predictions), "--output", str(out / name / "scores.json")]
        score += ["--validation", str(validation)] if validation else []
        return [predict(test, predictions, label, *engine), [*score, "--train", str(data / "train.parquet")]]

    def train(stage: str, config: Path, *more: str) -> list[str]:
        return [*launch, "--config", str(config), "--data", str(data), "--output_dir", str(out / stage / "model"), *more]

    first, second = str(out / "stage1" / "model"), str(out / "stage2" / "model")
    validation = out / "stage2" / "validation" / "predictions.jsonl"
    scores = [str(out / name / "scores.json") for name in ("stage1", "stage2", "floor")]
    against_floor = [str(out / name / "predictions.jsonl") for name in ("stage2", "floor")]
    paired, curves = out / "paired.json", ["--training", first, "--training", second]
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
        (
            "Calibrating the confidence of stage 2 on validation texts",
            [
                predict(data / "validation.parquet", validation, "stage 2", "--model", second),
                [*python, "eval.calibrate", str(validation), "--model", second],
            ],
        ),
        ("Measuring stage 2 on the same texts", measure("stage2", "stage 2", "--model", second, validation=validation)),
        (
            "Measuring the floor: the nearest title, without any training",
            measure("floor", "floor", "--engine", "floor", "--floor-codes", "data", "--by-condition", "multiple"),
        ),
        (
            "Drawing the report, with the cases that the model or the floor alone gets right",
            [
                [*python, "eval.paired", *against_floor, "--output", str(paired)],
                [*python, "eval.report", *scores, "--paired", str(paired), *curves, "--output", str(out / "report.html")],
            ],
        ),
    ]


def run_command(command: Sequence[str]) -> None:
    """Run one command of the demo; its progress goes to the terminal.

    Raises:
        EngineError: it failed; what it said stands above.
        KeyboardInterrupt: it was stopped with Ctrl-C.
    """
    environment = {"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1", "DS_ACCELERATOR": "cpu"}
    quiet = {"HF_DATASETS_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    process = subprocess.Popen(command, env={**environment, **quiet, **os.environ}, start_new_session=True)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        stop_worker(process)
        raise
    if status:
        shown = " ".join(["python", *command[1:]])
        advice = "run icdtune demo again to go on from here, or with --fresh to start over"
        raise EngineError(f"this step ended with status {status}: {shown}; {advice}")


def stop_worker(process: subprocess.Popen[bytes]) -> None:
    """Pass Ctrl-C on to the process that works: a launcher in between would answer it with a traceback."""
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        workers = [member for member in family if not member.children()]
        for worker in workers:
            worker.send_signal(signal.SIGINT)
    process.wait()


def ask_embedded_model(questions: Sequence[str]) -> list[CodingResponse]:
    """Return the answers of the embedded model, and show them; none where the checkout has no such model."""
    if not EMBEDDED_MODEL.is_dir():
        return []
    started, codes = time.monotonic(), CodeSet.load()
    try:
        model = LocalModel(EMBEDDED_MODEL, codes)
    except CheckpointError as error:
        say(f"{error}: the demo goes on without its answers")
        return []
    say(f"Before anything is trained, the model that comes with ICDTune answers: {describe_model(model.checkpoint)}")
    responses = asyncio.run(_code(model, questions))
    print(write_answers(questions, {EMBEDDED: responses}))
    say(
        f"    {time.monotonic() - started:.1f} s; it knows all {len(codes):,} codes, the model that is trained now a small part"
    )
    return responses


def ask_served_model(settings: DemoSettings, embedded: Sequence[CodingResponse]) -> None:
    """Serve the checkpoint of stage 2, ask it the questions, and with `keep` wait for Ctrl-C."""
    serving = check_settings(ServeSettings, read_yaml(settings.serving), str(settings.serving))
    serving = serving.model_copy(
        update={"model": settings.output_dir / "stage2" / "model", "port": find_free_port(serving.host, settings.port)}
    )
    with start_server(serving) as server:
        asked = time.monotonic()
        responses = asyncio.run(_code(server.base_url, settings.questions))
        seconds = time.monotonic() - asked
        say(f"    vLLM was ready after {server.seconds:.0f} s and coded {len(responses)} texts in {seconds:.2f} s:")
        print(f"\n{write_answers(settings.questions, {OWN: responses, EMBEDDED: embedded})}")
        if settings.keep:
            say(f"\nThe server stays up at {server.base_url}, model {server.model}; Ctrl-C stops it.")
            with contextlib.suppress(KeyboardInterrupt):
                server.process.wait()


async def _code(backend: str | Backend, texts: Sequence[str]) -> list[CodingResponse]:
    """Return what the coder makes of each text."""
    coder = Coder(backend)
    await coder.start()
    try:
        return [await coder.code(CodingRequest(text=text), "demo") for text in texts]
    finally:
        await coder.close()


def write_answers(texts: Sequence[str], answers: Mapping[str, Sequence[CodingResponse]]) -> str:
    """Return the texts with the codes that each model gives them, side by side; `?` after what it is not sure enough of."""
    asked = {name: responses for name, responses in answers.items() if responses}
    rows = [["", *asked]]
    for number, text in enumerate(texts):
        rows.append([text, *(_write_codes(responses[number]) for responses in asked.values())])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join("  " + "   ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def _write_codes(response: CodingResponse) -> str:
    said = [f"{one.code} {write_confidence(one.confidence)}".rstrip() for one in response.codes]
    unsure = [f"{one.code} {write_confidence(one.confidence)}?" for one in response.candidates]
    return ", ".join([*said, *unsure]) or "no code"


def write_table(folder: Path) -> str:
    """Return the exact match of both stages and the floor for each scenario, as text."""
    columns = {name: read_scores(folder / name / "scores.json") for name in ("stage1", "stage2", "floor")}
    scenarios = list(columns["stage2"]["scenarios"])
    lines = [f"{'exact match':<12}{'n':>6}{'stage 1':>10}{'stage 2':>10}{'floor':>10}"]
    for scenario in scenarios:
        rows = [scores["scenarios"][scenario] for scores in columns.values()]
        lines.append(f"{scenario:<12}{rows[0]['n']:>6}" + "".join(f"{row['exact_match']['value']:>10.1%}" for row in rows))
    invalid = [scores["overall"]["invalid_rate"]["value"] for scores in columns.values()]
    lines.append(f"{'invalid':<18}" + "".join(f"{rate:>10.1%}" for rate in invalid))
    return "\n".join(lines)


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
