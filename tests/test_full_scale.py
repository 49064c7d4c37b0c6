"""benchmarks/full_scale.sh in small: every file of the chain, a step that is killed goes on, a finished one is skipped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from processes import wait_for
from stage_runs import TINY

from serving.checkpoint import check_checkpoint, find_weights
from serving.model_facts import hash_weights

ROOT = Path(__file__).parent.parent
NOT_FINISHED = 75
SLICE = """
seed: 13
prefixes: [E11.6, I1, J18]
train_variants: {reordered: 1, abbreviated: 1, typo: 1, paraphrased: 1}
validation_variants: 1
test_variants: 1
held_out_codes: 0.1
multiple: {train: 8, validation: 3, test: 3, min_conditions: 2, max_conditions: 2}
note: {train: 0, validation: 0, test: 0}
"""
STEPS = (
    "--max_steps 80 --per_device_train_batch_size 4 --save_steps 20 --eval_steps 80 --validation_size 4 --warmup_steps 1 "
    '--lr_scheduler_kwargs {"num_decay_steps":2}'
)


def start(folder: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    """Start the script on a slice, with a model of a few thousand weights, in a process group of its own."""
    known = {
        "PYTHON": sys.executable,
        "OMP_NUM_THREADS": "1",
        "OUTPUT": str(folder / "run"),
        "DATA": str(folder / "slice.yaml"),
        "ENGINE": "transformers",
        "FLOORS": "floor",
        "PREDICT": "--floor-codes data",
        "FRESH": "--train_variants.typo 2 --multiple.train 16",
        "SAMPLE": "6",
        "SEEN": "4",
        "VALIDATION": "6",
        "SFT": STEPS,
        "STAGE1": f"--from_scratch {folder / 'tiny.yaml'}",
    }
    (folder / "slice.yaml").write_text(SLICE)
    (folder / "tiny.yaml").write_text(TINY)
    command = ["bash", str(ROOT / "benchmarks" / "full_scale.sh"), *words]
    return subprocess.Popen(
        command, env={**os.environ, **known, **environment}, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def finish(folder: Path, *words: str, **environment: str) -> tuple[int, str]:
    """Run the script to its end; returns its exit status and what it told."""
    process = start(folder, *words, **environment)
    _, told = process.communicate(timeout=600)
    return process.returncode, told


def test_it_says_what_it_is_and_what_is_missing(tmp_path: Path) -> None:
    assert finish(tmp_path, "--help") == (0, "")
    for words, status, part in (
        ((), 2, "usage:"),
        (("tpu",), 2, "usage:"),
        (("cpu", "stage3"), 1, "no step 'stage3'"),
        (("cpu", "stage1"), 1, "run the step generate"),
        (("cpu", "stage2"), NOT_FINISHED, "stage1 is not trained to its end"),
        (("gpu", "predict"), NOT_FINISHED, "stage1 is not trained to its end"),
        (("cpu", "score"), 1, "run the step predict"),
    ):
        found, told = finish(tmp_path, *words)
        assert found == status and part in told, (words, told)
    found, told = finish(tmp_path, "cpu", "floor", EXTERNAL_DEV=str(tmp_path / "none"))
    assert found == 1 and "no JSONL file" in told


@pytest.mark.slow
def test_the_whole_chain_on_a_slice(tmp_path: Path) -> None:
    out = tmp_path / "run"
    found, told = finish(tmp_path, "cpu", "generate", MINUTES="0.02")
    assert found == NOT_FINISHED and "time box" in told and not (out / "data").exists()

    process = start(tmp_path, "cpu", "generate", "stage1")
    wait_for(lambda: (out / "stage1" / "model" / "checkpoint-20" / "trainer_state.json").is_file(), 300)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == NOT_FINISHED and "run the same command again" in told
    assert not json.loads((out / "stage1" / "model" / "run.json").read_text())["finished"]

    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    rows = [{"id": f"e{code}", "scenario": "typo", "text": "hypertenson", "codes": [code]} for code in ("I10", "I16.0")]
    (elsewhere / "typed.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    found, told = finish(tmp_path, "cpu", EXTERNAL_DEV=str(elsewhere))
    assert found == 0, told
    assert "data is there" in told and "going on from" in told
    for stage in ("stage1", "stage2"):
        assert json.loads((out / stage / "model" / "run.json").read_text())["steps"] == 80
    for who, names in {
        "stage1": ["test"],
        "stage2": ["test", "whole", "seen", "elsewhere_typed"],
        "floor": ["test", "elsewhere_typed"],
        "union_floor": ["test", "elsewhere_typed"],
    }.items():
        for name in names:
            assert json.loads((out / who / name / "scores.json").read_text())["overall"]["n"], (who, name)
    assert (out / "stage2" / "model" / "calibration.json").is_file() and (out / "report.html").stat().st_size > 10_000
    tables = (out / "results.md").read_text()
    for part in ("| stage 1 | stage 2 | floor | stage 2 and floor |", "texts of its training", "lists read whole",
                 "reordered, ", "### typed", "either right (upper bound)", "### By chapter", "train.parquet"):  # fmt: skip
        assert part in tables, part
    steps = {line.split("\t")[1] for line in (out / "times.tsv").read_text().splitlines()}
    assert steps == {"generate", "stage1", "stage2", "predict", "floor", "score", "report"}

    written = {path: path.stat().st_mtime_ns for path in out.rglob("*.json*")}
    found, told = finish(tmp_path, "cpu", "generate", "stage1", "stage2", "predict", "floor", "score")
    assert found == 0 and "python -m" not in told
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*.json*")} == written

    found, told = finish(tmp_path, "cpu", "everyday", "names", "embed", "predict", "score", "report")
    assert found == 0, told
    embedded = out / "embedded" / "model"
    assert check_checkpoint(embedded).dtype == "bfloat16"
    sha256 = hash_weights(find_weights(embedded))
    assert json.loads((embedded / "calibration.json").read_text())["model_sha256"] == sha256
    card = (embedded / "README.md").read_text()
    assert "full_scratch_cpu_names.yaml" in card and sha256 in card
    assert "| embedded model | floor |" in card and "model-index:" in card
    assert not [path for path in embedded.glob("*.*") if path.suffix != ".png" and str(ROOT).encode() in path.read_bytes()]
    assert (out / "embedded" / "whole" / "scores.json").is_file()
    assert "| stage 1 | stage 2 | embedded model | floor | embedded model and floor |" in (out / "results.md").read_text()
