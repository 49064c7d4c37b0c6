"""Restricted data: sent to no other machine, kept in no cache, and in no message, whichever command meets it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from chat_server import start_chat
from stage_runs import TINY
from writer_runs import PRICES, call

from data_gen.examples import SPLITS, Example, write_examples
from data_gen.restricted import mark_schema
from eval import predict
from eval.predicting.selecting import select_examples
from eval.predictions import read_predictions
from finetune import grpo, openai_job, sft
from finetune.row_lengths import fit_rows
from finetune.stage_data import load_stage_data
from finetune.tiny import train_tokenizer
from icd10cm import CodeSet
from icd10cm.errors import DataError
from icd10cm.run_header import build_header, read_header, write_json

AWAY = "https://api.example.com/v1"


@pytest.fixture
def folder(tmp_path: Path, codes: CodeSet) -> Path:
    """Twelve rows a split, every file marked by itself; no run.json."""
    picked = codes.codes[:: len(codes) // 12][:12]
    for split in SPLITS:
        rows = [
            Example(f"hadm-{split}-{n}", "base", f"{split} SECRET {codes.title(code)}", (code,), split, "own", codes.release)
            for n, code in enumerate(picked)
        ]
        write_marked(tmp_path / "data" / f"{split}.parquet", rows)
    return tmp_path / "data"


def write_marked(path: Path, rows: list[Example]) -> None:
    """Write a data file that says by itself that it is restricted."""
    write_examples(path, rows)
    table = pq.read_table(path)
    pq.write_table(table.cast(mark_schema(table.schema)), path)


def unmark(folder: Path) -> None:
    """Take the marks of the files away."""
    for path in folder.glob("*.parquet"):
        pq.write_table(pq.read_table(path).replace_schema_metadata(None), path)


def ask(data: Path, output: Path, *words: object) -> int:
    return predict.run(["--data", str(data), "--output", str(output), *map(str, words)])


def read_error(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the one line of an error, which holds nothing of a row."""
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("icdtune: error: ") and "SECRET" not in line and "hadm-" not in line
    return line


def test_the_mark_of_the_file_alone_restricts_predictions(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output, floor = tmp_path / "out" / "p.jsonl", ("--engine", "floor", "--floor-codes", "data")
    assert ask(folder / "test.parquet", output, *floor) == 0
    assert read_header(output.with_name("run.json"))["restricted"] is True
    capsys.readouterr()
    assert ask(folder / "test.parquet", tmp_path / "dry" / "p.jsonl", *floor, "--dry-run") == 0
    shown = capsys.readouterr().out
    assert "first: (restricted, not shown)\n" in shown and "SECRET" not in shown


def test_no_restricted_text_is_sent_to_another_machine(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, output = folder / "test.parquet", tmp_path / "out" / "p.jsonl"
    with start_chat() as server:
        for words in (("--base-url", AWAY), ("--base-url", server.url, AWAY), ("--base-url", AWAY, "--dry-run")):
            assert ask(data, output, *words) == 2
            line = read_error(capsys)
            assert f"{data} (marked as restricted) counts as clinical text" in line and "for api.example.com" in line
            assert "allow_clinical_text_to_leave: true" in line and not output.parent.exists()
        assert not server.asked
        assert ask(data, output, "--base-url", AWAY, "--allow-clinical-text-to-leave", "--dry-run") == 0
        assert ask(data, output, "--base-url", server.url) == 0 and len(server.asked) == 12
        # leave changes no answer, so that a run goes on with it, and with what an older version left
        header = read_header(output.with_name("run.json"))
        del header["settings"]["allow_clinical_text_to_leave"]
        write_json(output.with_name("run.json"), header)
        assert ask(data, output, "--base-url", server.url, "--allow-clinical-text-to-leave") == 0
        assert len(server.asked) == 12 == len(read_predictions(output))


@pytest.mark.parametrize(
    ("source", "made_with", "reason"),
    [
        ("mimic_iv", {}, "source mimic_iv counts"),
        ("rules", {"note": {"prior": {"diagnoses_file": "d.csv.gz"}}}, "made with diagnoses_file d.csv.gz, counts"),
        ("rules", {"writer": {"examples_file": "style.txt"}}, "made with examples_file style.txt, counts"),
        ("rules", {"prior": {"diagnoses_file": None}, "multiple": {"prior": {}}, "writer": None}, None),
    ],
)
def test_what_is_clinical_without_a_mark(
    source: str, made_with: dict[str, Any], reason: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_examples(tmp_path / "data.jsonl", [Example("1", "typo", "SECRET", ("I10",), "test", source, "2026")])
    write_json(tmp_path / "run.json", build_header("data_gen.generate", made_with))
    status = ask(tmp_path / "data.jsonl", tmp_path / "out" / "p.jsonl", "--base-url", AWAY, "--dry-run")
    assert status == (2 if reason else 0)
    assert not reason or reason in read_error(capsys)


def test_no_restricted_file_is_uploaded(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = {
        "data": str(folder),
        "output_dir": str(tmp_path / "job"),
        "base_url": AWAY,
        "model": "gpt-4o-mini",
        "price": {"as_of": "2026-11-21", "training_per_million_usd": 10.0},
    }
    config = tmp_path / "job.yaml"
    config.write_text(yaml.safe_dump(content), encoding="utf-8")
    assert openai_job.run(["--config", str(config)]) == 2
    assert "train.parquet (marked as restricted) counts as clinical text" in read_error(capsys)
    allowed = ["--config", str(config), "--dry-run", "--allow-clinical-text-to-leave"]
    assert openai_job.run(allowed) == 0
    shown = capsys.readouterr().out
    assert "12 training rows" in shown and "SECRET" not in shown and "the texts are restricted" in shown
    assert openai_job.run([*allowed, "--max-length", "5"]) == 2
    assert "validation.parquet, row 1 has" in read_error(capsys)


def test_a_file_that_is_marked_decides_nothing_asked_of_another_machine(tmp_path: Path) -> None:
    (tmp_path / "marked").mkdir()
    short = tmp_path / "marked" / "short.csv"
    short.write_text("short,long\nSECRET,secret condition\n")
    write_json(short.with_name("run.json"), build_header("own", {}, restricted=True))
    config = tmp_path / "llm.yaml"
    there = {"base_url": AWAY, "model": "writer", "prices": PRICES}
    for writer, status in (
        (there, 2),
        (there | {"allow_clinical_text_to_leave": True}, 0),
        ({"base_url": "http://[::1]:1/v1"}, 0),
    ):
        content = {"output_dir": str(tmp_path / "data"), "prefixes": ["E11.2"], "abbreviation_files": [str(short)]}
        config.write_text(yaml.safe_dump(content | {"backend": "openai", "writer": {"model": "m"} | writer}), encoding="utf-8")
        done = call(config, "--dry-run")
        assert done.returncode == status, done.stderr
        refused = (
            "short.csv counts as clinical text" in done.stderr and "writer.allow_clinical_text_to_leave: true" in done.stderr
        )
        assert refused is (status == 2)


def test_no_token_of_restricted_texts_is_kept(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICDTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("finetune.tokens._FEWEST_KEPT", 2)
    data = load_stage_data(folder, None, {}, 100)
    tokenizer = train_tokenizer([example.text for example in data.train], 400, 128)
    assert data.restricted
    kept = fit_rows(data, tokenizer, 1000, "error")[1].to_list()
    fit_rows(data, tokenizer, 40, "truncate")
    assert not (tmp_path / "cache").exists()
    with pytest.raises(DataError, match=r"the longest, train.parquet, row \d+, has"):
        fit_rows(data, tokenizer, 10, "error")
    with pytest.raises(DataError, match=r"train.parquet, row \d+: its codes alone are longer"):
        fit_rows(data, tokenizer, 5, "truncate")
    unmark(folder)
    free = load_stage_data(folder, None, {}, 100)
    assert not free.restricted and fit_rows(free, tokenizer, 1000, "error")[1].to_list() == kept
    assert len(list((tmp_path / "cache").iterdir())) == 1
    write_json(folder / "run.json", build_header("own", {}, restricted=True))
    assert load_stage_data(folder, None, {}, 100).restricted


def test_training_keeps_no_token_and_no_dry_run_shows_a_text(
    folder: Path, random_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ICDTUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("finetune.tokens._FEWEST_KEPT", 2)
    (tmp_path / "tiny.yaml").write_text(TINY)
    scratch = ["--data", folder, "--from_scratch", tmp_path / "tiny.yaml", "--output_dir", tmp_path / "sft", "--max_steps", 1]
    common = ["--use_cpu", "true", "--bf16", "false", "--report_to", "none", "--save_strategy", "no"]
    assert sft.run([*map(str, scratch), *common, "--eval_strategy", "epoch"]) == 0
    assert not list((tmp_path / "cache").glob("*tokens*"))
    capsys.readouterr()
    reward = ["--data", folder, "--model_name_or_path", random_checkpoint, "--output_dir", tmp_path / "grpo"]
    reward += ["--max_completion_length", 24]
    for run, words in ((sft.run, scratch), (grpo.run, reward)):
        assert run([*map(str, words), *common, "--dry_run", "true"]) == 0
        shown = capsys.readouterr().out
        assert "the texts are restricted" in shown and "SECRET" not in shown


def test_rows_are_named_and_not_ids(folder: Path, tmp_path: Path, codes: CodeSet) -> None:
    data = load_stage_data(folder, None, {}, 100)
    rows = list(data.train)
    with pytest.raises(DataError, match=r"train.parquet, row 3: has the id of row 1; ids must differ$"):
        select_examples([*rows[:2], rows[0]], [], 0, folder / "train.parquet")
    with pytest.raises(DataError, match=r"train.parquet, row 2: unknown scenario 'bsae', did you mean 'base'\?$"):
        select_examples([rows[0], rows[1]._replace(scenario="bsae")], [], 0, folder / "train.parquet")
    with pytest.raises(DataError, match=r"data: train.parquet, row 2 has a code that release 2026 lacks"):
        grpo.check_codes(data._replace(train=[rows[0], rows[1]._replace(codes=("E11",))]), codes, folder)
    write_marked(folder / "train.parquet", [*rows[:4], rows[4]._replace(codes=())])
    with pytest.raises(DataError, match=r"train.parquet, row 5: has no codes$"):
        load_stage_data(folder, None, {}, 100)
    row = {"id": "hadm-1", "scenario": "base", "codes": ["I10"], "predicted": [], "output": "", "status": "ok", "rejected": []}
    broken = tmp_path / "predictions.jsonl"
    for twice in ({}, {"codes": "I10"}, {"predicted": "SECRET"}, {"output": ["SECRET"]}, {"attributes": "SECRET"}):
        broken.write_text(json.dumps(row) + "\n" + json.dumps(row | twice) + "\n")
        with pytest.raises(DataError, match="line 2: ") as error:
            read_predictions(broken)
        assert not any(word in str(error.value) for word in ("hadm-1", "I10", "SECRET")), error.value
