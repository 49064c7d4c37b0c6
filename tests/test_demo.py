"""The demo in small, for real: data, two trained stages, scores, report, a served answer; stopped in the middle once."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_gen.examples import read_examples
from eval.demo import DemoSettings, list_steps
from eval.scores_file import read_scores
from finetune.previous_run import find_last_checkpoint
from icd10cm import CodeSet

ROOT = Path(__file__).parent.parent
STAGE = """\
data: unused
output_dir: unused
use_cpu: true
bf16: false
gradient_checkpointing: false
learning_rate: 3.0e-3
adam_beta2: 0.98
per_device_train_batch_size: 16
per_device_eval_batch_size: 64
max_length: 256
eval_strategy: steps
eval_steps: 0.5
save_strategy: steps
save_steps: 20
save_total_limit: 1
report_to: none
seed: 3
"""


@pytest.fixture(scope="module")
def demo_config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo over a dozen codes and a few hundred steps of a very small Llama."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "data.yaml").write_text(
        "output_dir: unused\nseed: 5\nprefixes: [E11.62, I10, I50.2, N39.0]\n"
        "train_variants: {reordered: 4, abbreviated: 4, typo: 6}\nvalidation_variants: 1\ntest_variants: 1\n"
        "multiple: {train: 60, validation: 5, test: 10, min_conditions: 2, max_conditions: 3}\n"
    )
    (folder / "model.yaml").write_text(
        "vocab_size: 400\nhidden_size: 64\nintermediate_size: 128\nnum_hidden_layers: 2\nnum_attention_heads: 2\n"
    )
    scratch = f"from_scratch: {folder / 'model.yaml'}\n"
    (folder / "stage1.yaml").write_text(f"{STAGE}stage: initial\nscenarios: [base]\nmax_steps: 120\n{scratch}")
    (folder / "stage2.yaml").write_text(f"{STAGE}stage: enhanced\nmax_steps: 60\nmodel_name_or_path: {folder}\n")
    (folder / "demo.yaml").write_text(
        f"output_dir: {folder / 'out'}\ndata: {folder / 'data.yaml'}\nstage1: {folder / 'stage1.yaml'}\n"
        f"stage2: {folder / 'stage2.yaml'}\nport: 18300\nquestions: [Essential (primary) hypertension]\n"
    )
    return folder / "demo.yaml"


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_demo_is_stopped_goes_on_and_ends_with_everything(demo_config: Path) -> None:
    command = [sys.executable, "-m", "eval.demo", "--config", str(demo_config)]
    out = demo_config.parent / "out"
    first = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    deadline = time.monotonic() + 300
    while find_last_checkpoint(out / "stage1" / "model") is None and time.monotonic() < deadline and first.poll() is None:
        time.sleep(0.1)
    os.killpg(first.pid, signal.SIGINT)
    _, said = first.communicate(timeout=120)
    assert first.returncode == 130, said
    assert "run the same command again" in said
    assert "Traceback" not in said

    second = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=1000)
    assert second.returncode == 0, second.stderr[-3000:]
    assert "going on from" in second.stderr
    for name in ("data/train.parquet", "data/validation.parquet", "data/test.parquet", "data/dataset_card.md", "data/run.json"):
        assert (out / name).is_file(), name
    for stage in ("stage1", "stage2"):
        for name in ("model/model.safetensors", "model/README.md", "model/run.json", "predictions.jsonl", "scores.json"):
            assert (out / stage / name).is_file(), name
    assert (out / "report.html").stat().st_size > 10_000
    scores = read_scores(out / "stage2" / "scores.json")
    assert scores["overall"]["invalid_rate"]["value"] == 0
    assert scores["overall"]["n"] == len(read_examples(out / "data" / "test.parquet"))
    table = second.stdout
    for word in ("exact match", "stage 1", "stage 2", "floor", "multiple", "invalid", "report.html"):
        assert word in table
    asked = [line for line in table.splitlines() if line.startswith("  Essential (primary) hypertension ")]
    answered = re.findall(r"\b[A-Z]\d[0-9A-Z](?:\.[0-9A-Z]{1,4})?\b", asked[-1])
    assert "the model of this demo" in table and answered
    assert all(CodeSet.load().is_billable(code) for code in answered), table
    assert json.loads((out / "stage1" / "model" / "run.json").read_text())["finished"]


def test_steps_of_the_demo_are_commands_a_user_could_type() -> None:
    steps = list_steps(DemoSettings(output_dir=Path("outputs/elsewhere")))
    modules = [command[command.index("-m") + 1] for _, commands in steps for command in commands]
    assert modules == [
        "data_gen.generate", "accelerate.commands.launch", "eval.predict", "eval.score", "accelerate.commands.launch",
        "eval.predict", "eval.calibrate", "eval.predict", "eval.score", "eval.predict", "eval.score", "eval.paired",
        "eval.report",
    ]  # fmt: skip
    assert all("outputs/elsewhere" in " ".join(command) for _, commands in steps for command in commands)
