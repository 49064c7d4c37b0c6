"""eval.predict: every engine, and a run that is killed goes on to the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from data_gen.examples import Example, write_examples
from eval import predict
from eval.predicting import answering
from eval.predictions import read_predictions
from icd10cm import CodeSet

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def data(codes: CodeSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """120 examples of three scenarios, mixed."""
    picked = codes.codes[:: len(codes) // 120][:120]
    scenarios = ("base", "typo", "multiple")
    examples = [
        Example(f"e{i}", scenarios[i % 3], codes.title(code), (code,), "test", "cms", codes.release)
        for i, code in enumerate(picked)
    ]
    path = tmp_path_factory.mktemp("data") / "test.parquet"
    write_examples(path, examples)
    return path


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    for engine in answering.CHUNKS:
        monkeypatch.setitem(answering.CHUNKS, engine, 32)


def run(data: Path, output: Path, *words: str) -> int:
    return predict.run(["--data", str(data), "--output", str(output), *words])


def test_transformers_answers_every_example_in_the_order_of_the_data(
    data: Path, random_checkpoint: Path, codes: CodeSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "predictions.jsonl"
    assert run(data, output, "--model", str(random_checkpoint), "--max-tokens", "40", "--label", "random") == 0
    predictions = read_predictions(output)
    assert [prediction.id for prediction in predictions] == [f"e{i}" for i in range(120)]
    assert all(codes.is_billable(scored.code) for prediction in predictions for scored in prediction.predicted)
    statuses = Counter(prediction.status for prediction in predictions)
    assert set(statuses) == {"ok", "truncated"} and not any(prediction.rejected for prediction in predictions)
    header = json.loads((tmp_path / "run.json").read_text())
    assert (header["label"], header["engine"], header["constrained"]) == ("random", "transformers", True)
    assert header["model"] == str(random_checkpoint) and header["data"] == str(data) and header["release"] == codes.release
    assert str(data) in header["inputs"] and str(random_checkpoint / "model.safetensors") in header["inputs"]
    assert header["counts"] == {"n": 120, "ok": statuses["ok"], "unparsed": 0, "truncated": statuses["truncated"], "error": 0}
    printed = capsys.readouterr().out
    assert "120 predictions (base 40, typo 40, multiple 40)" in printed and f"ok {statuses['ok']}" in printed


@pytest.mark.parametrize("n_left", [0, 1, 31, 32, 50, 119])
def test_what_a_killed_run_left_is_completed_to_the_same_bytes(
    data: Path, random_checkpoint: Path, tmp_path: Path, n_left: int
) -> None:
    words = ("--model", str(random_checkpoint), "--max-tokens", "40")
    whole, killed = tmp_path / "whole" / "p.jsonl", tmp_path / "killed" / "p.jsonl"
    assert run(data, whole, *words) == 0
    assert run(data, killed, *words) == 0
    lines = killed.read_bytes().splitlines(keepends=True)
    by_length = sorted(lines, key=lambda line: (len(line), line))
    killed.write_bytes(b"".join(by_length[:n_left]) + by_length[n_left][:17])
    assert run(data, killed, *words) == 0
    assert killed.read_bytes() == whole.read_bytes()


@pytest.mark.slow
def test_kill_9_costs_nothing_but_time(data: Path, random_checkpoint: Path, tmp_path: Path) -> None:
    program = (
        "import sys, time; from eval import predict; from eval.predicting import answering\n"
        "from serving.engines.transformers_engine import TransformersEngine as E\n"
        "answering.CHUNKS['transformers'] = 16; generate = E.generate\n"
        "def slowly(self, texts): time.sleep(1); return generate(self, texts)\n"
        "E.generate = slowly; raise SystemExit(predict.run(sys.argv[1:]))"
    )
    killed, whole = tmp_path / "killed" / "p.jsonl", tmp_path / "whole" / "p.jsonl"
    words = ["--data", str(data), "--model", str(random_checkpoint), "--max-tokens", "40"]
    with subprocess.Popen([sys.executable, "-c", program, *words, "--output", str(killed)], cwd=ROOT) as process:
        deadline = time.monotonic() + 120
        while (not killed.exists() or killed.read_bytes().count(b"\n") < 32) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(process.pid, signal.SIGKILL)
    n_kept = killed.read_bytes().count(b"\n")
    assert 32 <= n_kept < 120
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(answering.CHUNKS, "transformers", 16)
        assert run(data, killed, *words[2:]) == 0
        assert run(data, whole, *words[2:]) == 0
    assert killed.read_bytes() == whole.read_bytes()


def test_finished_examples_are_not_asked_again(
    data: Path, random_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "p.jsonl"
    words = ("--engine", "floor", "--floor-codes", "data")
    assert run(data, output, *words) == 0
    before = output.read_bytes()
    monkeypatch.setattr(predict, "_build_engine", None)
    assert run(data, output, *words) == 0
    assert output.read_bytes() == before and "120 of 120 are answered already" in capsys.readouterr().err


def test_the_floor_finds_titles(data: Path, tmp_path: Path) -> None:
    output = tmp_path / "p.jsonl"
    assert run(data, output, "--engine", "floor", "--floor-codes", "data", "--scenarios", "base", "typo", "--limit", "5") == 0
    predictions = read_predictions(output)
    assert [prediction.scenario for prediction in predictions] == ["base", "typo"] * 5
    assert all(prediction.predicted[0].code == prediction.codes[0] for prediction in predictions)
    assert json.loads((tmp_path / "run.json").read_text())["label"] == "floor"


@pytest.mark.parametrize(
    ("words", "difference"),
    [
        (("--max-tokens", "41"), "max_tokens 40 there, 41 here"),
        (("--max-tokens", "40", "--limit", "3"), "limit 0 there, 3 here"),
        (("--max-tokens", "40", "--constrained", "false"), "constrained True there, False here"),
    ],
)
def test_predictions_of_another_run_are_not_mixed_in(
    data: Path, random_checkpoint: Path, tmp_path: Path, words: tuple[str, ...], difference: str, capsys: Any
) -> None:
    output, model = tmp_path / "p.jsonl", ("--model", str(random_checkpoint))
    assert run(data, output, *model, "--max-tokens", "40", "--batch-size", "32") == 0
    before = output.read_bytes()
    capsys.readouterr()
    assert run(data, output, *model, *words) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert difference in line and "--overwrite" in line and str(output) in line
    assert output.read_bytes() == before
    assert run(data, output, *model, *words, "--overwrite") == 0
    assert output.read_bytes() != before


def test_changed_data_and_a_missing_header_are_refused(
    data: Path, codes: CodeSet, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, output = tmp_path / "data.jsonl", tmp_path / "out" / "p.jsonl"
    example = Example("a", "base", "gout", ("M10.9",), "test", "", codes.release)
    write_examples(own, [example, example._replace(id="b")])
    words = ("--engine", "floor", "--floor-codes", "data")
    assert run(own, output, *words) == 0
    write_examples(own, [example, example._replace(id="b", text="gouty")])
    assert run(own, output, *words) == 2
    assert f"{own} has changed since" in capsys.readouterr().err
    (output.parent / "run.json").unlink()
    assert run(own, output, *words) == 2
    assert "it has no run.json" in capsys.readouterr().err


def test_failed_examples_are_asked_again(
    data: Path, random_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, words = tmp_path / "p.jsonl", ("--model", str(random_checkpoint), "--max-tokens", "40")
    assert run(data, output, *words) == 0
    right = output.read_bytes()
    lines = right.decode().splitlines(keepends=True)
    row = json.loads(lines[7]) | {"status": "error", "predicted": [], "output": "HTTP 500", "rejected": []}
    output.write_text("".join([*lines[:7], json.dumps(row) + "\n", *lines[8:]]))
    assert run(data, output, *words) == 0
    assert "119 of 120 are answered already" in capsys.readouterr().err
    assert output.read_bytes() == right


def test_dry_run_writes_nothing(
    data: Path, random_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "p.jsonl"
    assert run(data, output, "--model", str(random_checkpoint), "--dry-run") == 0
    printed = capsys.readouterr().out
    assert "120 examples (base 40, typo 40, multiple 40) with transformers" in printed and str(output) in printed
    assert not output.parent.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "--model"),
        (("--model", "nowhere"), "nowhere: no such checkpoint folder"),
        (("--engine", "floor", "--scenarios", "bse"), "did you mean 'base'"),
        (("--engine", "floor", "--scenarios", "note"), "holds no example of note"),
        (("--base-url", "http://127.0.0.1:9/v1"), "nothing answers there"),
    ],
)
def test_bad_input_is_one_line(
    data: Path, tmp_path: Path, words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(data, tmp_path / "p.jsonl", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and not (tmp_path / "p.jsonl").exists()


@pytest.mark.slow
def test_vllm_in_process_answers_as_transformers_does(data: Path, random_checkpoint: Path, tmp_path: Path) -> None:
    words = ["--data", str(data), "--model", str(random_checkpoint), "--max-tokens", "40"]
    words += ["--ranking", "sampling", "--n-samples", "4"]
    for engine in ("vllm", "transformers"):
        command = [sys.executable, "-m", "eval.predict", *words, "--engine", engine]
        output = tmp_path / engine / "p.jsonl"
        done = subprocess.run([*command, "--output", str(output)], cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        assert len(done.stdout.splitlines()) == 2, done.stdout
    by_vllm, by_transformers = (read_predictions(tmp_path / name / "p.jsonl") for name in ("vllm", "transformers"))
    for first, second in zip(by_vllm, by_transformers, strict=True):
        assert (first.id, first.output, first.status) == (second.id, second.output, second.status)
        for scored, other in zip(first.predicted, second.predicted, strict=True):
            assert scored.score == pytest.approx(other.score, abs=1e-3)
        assert first.ranking and {scored.score for scored in first.ranking} <= {0, 0.25, 0.5, 0.75, 1}
    assert any(first.ranking[0].score == 1 for first in by_vllm) or len({first.ranking for first in by_vllm}) > 100
