"""Data, checkpoints, servers, predictions and scores carry their release, and a mismatch is refused or said."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chat_server import ChatServer, start_chat
from eval_cases import predict as by_hand
from eval_cases import write_run
from test_serving_middleware import Recorder, post, set_served

from data_gen import generate
from data_gen.examples import Example, write_examples
from eval import predict, report, score
from finetune import sft
from finetune.starting_point import check_release
from icd10cm import CodeSet
from icd10cm.errors import CheckpointError, CodeFileError
from icd10cm.run_header import build_header, write_json
from serving import code, serve
from serving.checkpoint import check_checkpoint
from serving.command import ServeSettings, build_launch, describe_served
from serving.engines.base import RELEASE_HEADER
from serving.engines.endpoint_engine import EndpointEngine
from serving.model_facts import SERVED_VARIABLE, Served

ROOT = Path(__file__).parent.parent
CONFIG = str(ROOT / "configs" / "serving" / "vllm.yaml")


@pytest.fixture(scope="module")
def code_file(shared_data: Path) -> str:
    """The code file of 2024."""
    return str(shared_data / "icd10cm" / "icd10cm_codes_2024.txt.gz")


def write_data(folder: Path, train: str = "2026", validation: str = "2026", **header: Any) -> Path:
    """Write a data folder of two examples per split, with a `run.json` when it has facts."""
    for split, release in (("train", train), ("validation", validation)):
        rows = [
            Example(f"{split}-{n}", "base", f"gout {n}", ("M10.9",), split, "cms", name)
            for n, name in enumerate(release.split(","))
        ]
        write_examples(folder / f"{split}.parquet", rows)
    if header:
        write_json(folder / "run.json", build_header("data_gen.update", {}, **header))
    return folder


def write_checkpoint(folder: Path, release: str | None) -> Path:
    folder.mkdir()
    write_json(folder / "run.json", build_header("finetune.sft", {}, release=release))
    return folder


# data


def test_another_release_than_the_embedded_one_needs_its_code_file(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with pytest.raises(CodeFileError, match="release 2025 is not the embedded one, which is 2026"):
        CodeSet.load(release="2025")
    assert CodeSet.load(release="2026").release == "2026"
    assert generate.run(["--release", "2025", "--prefixes", "I10", "--output-dir", str(tmp_path / "d")]) == 2
    assert "release 2025 is not the embedded one" in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_data_of_a_code_file_without_year_is_told_of(
    code_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nameless = tmp_path / "codes.txt.gz"
    nameless.symlink_to(code_file)
    arguments = ["--code-file", str(nameless), "--prefixes", "I10", "--train-variants", "{typo: 1}"]
    assert generate.run([*arguments, "--output-dir", str(tmp_path / "a")]) == 0
    assert "warning: the name of" in capsys.readouterr().err
    assert generate.run([*arguments, "--output-dir", str(tmp_path / "b"), "--release", "2024"]) == 0
    assert "warning" not in capsys.readouterr().err
    assert json.loads((tmp_path / "b" / "run.json").read_text())["release"] == "2024"


# training


@pytest.mark.parametrize(
    ("train", "validation", "named"),
    [("2025,2026", "2026", "2025, 2026"), ("2026", "2025", "2025, 2026"), ("2026,", "2026", "none, 2026")],
)
@pytest.mark.parametrize("dry_run", [True, False])
def test_training_on_two_releases_is_refused(
    train: str, validation: str, named: str, dry_run: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_data(tmp_path / "data", train, validation)
    model = write_checkpoint(tmp_path / "model", "2026")
    arguments = ["--data", str(data), "--model_name_or_path", str(model), "--output_dir", str(tmp_path / "out"), "--use_cpu"]
    assert sft.run([*arguments, *(["--dry-run"] if dry_run else [])]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert f"{data}: examples of several releases ({named}); train on one" in line
    assert not (tmp_path / "out").exists()


def test_a_stage_does_not_start_from_a_checkpoint_of_another_release(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, model = write_data(tmp_path / "data"), write_checkpoint(tmp_path / "model", "2025")
    arguments = ["--data", str(data), "--model_name_or_path", str(model), "--output_dir", str(tmp_path / "out"), "--use_cpu"]
    assert sft.run([*arguments, "--stage", "enhanced"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "error" in line]
    assert f"{model}: was trained on release 2025, but {data} is of release 2026" in line and "stage: update" in line
    assert not (tmp_path / "out").exists()


def test_an_update_starts_from_the_release_it_was_written_for_and_no_other(tmp_path: Path) -> None:
    data = write_data(tmp_path / "data", release="2026", from_release="2025")
    for number, (release, stage, fits) in enumerate(
        [("2025", "update", True), ("2026", "update", True), ("2024", "update", False), ("2026", "enhanced", True)]
    ):
        model = write_checkpoint(tmp_path / str(number), release)
        if fits:
            check_release(str(model), stage, data, "2026")
        else:
            with pytest.raises(CheckpointError, match=r"2024, but .* updates a checkpoint of release 2025 to 2026"):
                check_release(str(model), stage, data, "2026")
    check_release("meta-llama/Llama-3.2-1B-Instruct", "initial", data, "2026")
    check_release(str(write_checkpoint(tmp_path / "unnamed", None)), "enhanced", data, "2026")


# serving


@pytest.mark.parametrize(("constrained", "release"), [(True, "2024"), (False, "2026")])
def test_a_server_is_started_with_the_release_it_answers_with(
    constrained: bool, release: str, random_checkpoint: Path, tmp_path: Path
) -> None:
    named = tmp_path / "icd10cm_codes_2024.txt"
    named.write_text("")
    settings = ServeSettings(model=random_checkpoint, code_file=named, constrained=constrained)
    launch = build_launch(settings, check_checkpoint(random_checkpoint))
    assert Served.model_validate_json(launch.environment[SERVED_VARIABLE]).release == release


def test_a_server_with_the_embedded_codes_or_with_unnamed_ones(random_checkpoint: Path, tmp_path: Path) -> None:
    checkpoint = check_checkpoint(random_checkpoint)
    assert describe_served(ServeSettings(model=random_checkpoint), checkpoint, "vllm").release == "2026"
    (tmp_path / "codes.txt").write_text("")
    unnamed = ServeSettings(model=random_checkpoint, code_file=tmp_path / "codes.txt")
    assert describe_served(unnamed, checkpoint, "vllm").release == ""


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/models"])
def test_every_response_names_the_release(path: str, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    set_served(monkeypatch, random_checkpoint, release="2024")
    name = RELEASE_HEADER.lower().encode()
    assert dict(post(Recorder(), {"prompt": "gout"}, path)[0]["headers"])[name] == b"2024"
    set_served(monkeypatch, random_checkpoint)
    assert name not in dict(post(Recorder(), {"prompt": "gout"}, path)[0]["headers"])


@pytest.mark.slow
def test_a_real_server_names_its_release(vllm_server: Any) -> None:
    assert EndpointEngine(vllm_server.base_url, progress=False).release == "2026"


def test_serving_warns_of_a_checkpoint_of_another_release(
    code_file: str, random_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--config", CONFIG, "--model", str(random_checkpoint), "--dry-run"]
    assert serve.run([*arguments, "--code-file", code_file]) == 0
    err = capsys.readouterr().err
    assert f"warning: {random_checkpoint}: trained on release 2026, but the codes of release 2024 are loaded" in err
    assert serve.run(arguments) == 0
    assert "warning" not in capsys.readouterr().err


@pytest.fixture
def old_server() -> Iterator[ChatServer]:
    """A server that has the codes of 2024."""
    with start_chat() as server:
        server.release = "2024"
        yield server


def test_code_warns_of_a_server_or_checkpoint_of_another_release(
    old_server: ChatServer, code_file: str, random_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = "answers with the codes of release 2024, but those of release 2026 are loaded"
    assert code.run(["i10", "--base-url", old_server.url]) == 0
    assert said in capsys.readouterr().err
    assert code.run(["i10", "--base-url", old_server.url, "--code-file", code_file]) == 0
    assert "warning" not in capsys.readouterr().err
    assert code.run(["i10", "--model", str(random_checkpoint), "--code-file", code_file, "--max-tokens", "9"]) == 0
    assert "trained on release 2026, but the codes of release 2024 are loaded" in capsys.readouterr().err


# evaluation


@pytest.fixture
def test_set(tmp_path: Path) -> Path:
    """Three examples of release 2025, of which one code is retired in 2026."""
    rows = [
        Example(name, "base", text, (name,), "test", "cms", "2025")
        for name, text in (("I10", "hypertension"), ("G35", "multiple sclerosis"), ("M10.9", "gout"))
    ]
    write_examples(tmp_path / "test.parquet", rows)
    return tmp_path / "test.parquet"


def test_predicting_warns_of_data_of_another_release_and_counts_what_is_lost(
    test_set: Path, old_server: ChatServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out" / "predictions.jsonl"
    assert predict.run(["--base-url", old_server.url, "--data", str(test_set), "--output", str(output)]) == 0
    err = capsys.readouterr().err
    assert f"warning: {test_set}: examples of release 2025, but the codes of release 2026 are loaded; 1 of 3 examples" in err
    assert "warning: the server answers with the codes of release 2024" in err
    header = json.loads(output.with_name("run.json").read_text())
    assert (header["release"], header["model_release"], header["data_releases"]) == ("2026", "2024", ["2025"])


def test_predictions_say_the_release_of_the_checkpoint(random_checkpoint: Path, tmp_path: Path, capsys: Any) -> None:
    data, output = tmp_path / "test.jsonl", tmp_path / "out" / "predictions.jsonl"
    write_examples(data, [Example("a", "base", "gout", ("M10.9",), "test", "", "2026")])
    arguments = ["--model", str(random_checkpoint), "--engine", "transformers", "--max-tokens", "9"]
    assert predict.run([*arguments, "--data", str(data), "--output", str(output)]) == 0
    assert "warning" not in capsys.readouterr().err
    header = json.loads(output.with_name("run.json").read_text())
    assert (header["model_release"], header["data_releases"]) == ("2026", ["2026"])


def test_data_without_release_is_judged_by_its_codes(codes: CodeSet) -> None:
    fine = Example("a", "base", "gout", ("M10.9",), "test", "", "")
    gone = fine._replace(id="b", codes=("M10.9", "G35"))
    assert predict.compare_releases([fine], codes, Path("x")) == []
    (warning,) = predict.compare_releases([fine, gone], codes, Path("x"))
    assert "no stated release" in warning and "1 of 2 examples have a code that it lacks" in warning


def score_run(folder: Path, **facts: Any) -> Path:
    path = write_run(folder, [by_hand("I10", "I10")], **facts)
    assert score.run([str(path), "--n-boot", "100"]) == 0
    return path.with_name("scores.json")


def test_scoring_refuses_predictions_of_another_release(
    code_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_run(tmp_path / "run", [by_hand("I10", "I10")])
    assert score.run([str(path), "--code-file", code_file]) == 2
    assert "predictions of release 2026, but the code set is release 2024" in capsys.readouterr().err


def test_a_report_of_several_releases_says_so(code_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now, then = score_run(tmp_path / "now", model_release="2026"), score_run(tmp_path / "then", model_release="2026")
    output = ["--output", str(tmp_path / "report.html")]
    assert report.run([str(now), str(then), *output]) == 0
    assert "warning" not in capsys.readouterr().err
    scores = json.loads(then.read_text())
    scores["scoring"]["release"], scores["header"]["model_release"] = "2025", "2025"
    then.write_text(json.dumps(scores))
    assert report.run([str(now), str(then), *output]) == 0
    err = capsys.readouterr().err
    assert "warning: the scores differ in their releases and releases that the models learned" in err
    assert "warning: scores of release 2025 and 2026, but the titles shown are of release 2026" in err
    page = (tmp_path / "report.html").read_text()
    assert "the columns differ in their releases and releases that the models learned" in page
