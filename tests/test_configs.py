"""Every YAML in configs/: a header that says what it is, keys that its entry knows, inputs that another config writes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from command_lines import check_command, split_commands
from pydantic import ValidationError

from icd10cm.config import Settings, read_yaml

ROOT = Path(__file__).parent.parent
CONFIGS = {path.relative_to(ROOT / "configs").as_posix(): path for path in sorted((ROOT / "configs").rglob("*.yaml"))}
each_config = pytest.mark.parametrize("path", CONFIGS.values(), ids=CONFIGS)


def check_fields(model: type[Settings], path: Path) -> None:
    """Check a config against the settings of its entry, but for files that another run writes and keys left to the command."""
    try:
        model.model_validate(read_yaml(path))
    except ValidationError as error:
        wrong = [
            problem for problem in error.errors() if problem["type"] not in ("path_not_file", "path_not_directory", "missing")
        ]
        assert not wrong, wrong


def check_data(path: Path) -> None:
    from data_gen.generate import Settings as Generate

    check_fields(Generate, path)


def check_corpus(path: Path, tmp_path: Path) -> None:
    """Check a corpus as it is run: folder and files are left to the command."""
    from eval.corpora.settings import CorpusSettings

    values = read_yaml(path)
    given = {"files": [path]} if values["corpus"] == "own" else {"folder": tmp_path}
    CorpusSettings.model_validate(values | given)


def check_demo(path: Path) -> None:
    from eval.demo import DemoSettings

    check_fields(DemoSettings, path)


def check_model(path: Path) -> None:
    from finetune.tiny import TinyLlama

    check_fields(TinyLlama, path)


def check_predict(path: Path) -> None:
    from eval.predict import PredictSettings

    check_fields(PredictSettings, path)


def check_score(path: Path) -> None:
    from eval.score import ScoreSettings

    check_fields(ScoreSettings, path)


def check_report(path: Path) -> None:
    from eval.report import ReportSettings

    check_fields(ReportSettings, path)


def check_serving(path: Path) -> None:
    from serving.command import ServeSettings

    check_fields(ServeSettings, path)


def check_api(path: Path) -> None:
    from serving.api.settings import ApiSettings

    check_fields(ApiSettings, path)


def check_stage(path: Path, tmp_path: Path) -> None:
    """Check a stage through the entry's own reader, on a machine without GPU and without the stage before."""
    from finetune.stage_arguments import parse_arguments

    overrides = ["--data", str(tmp_path), "--use_cpu", "true", "--dry_run", "true"]
    if str(read_yaml(path).get("model_name_or_path", "")).startswith("outputs/"):
        overrides += ["--model_name_or_path", str(tmp_path)]
    stage, sft, _ = parse_arguments(["--config", str(path), *overrides])
    assert stage.data == str(tmp_path) and sft.output_dir == read_yaml(path)["output_dir"]


def check_reinforce(path: Path, tmp_path: Path) -> None:
    """Check a reinforcement stage through its entry's own reader, on a machine without GPU and without the stage before."""
    from finetune.grpo import parse_arguments

    given = {"data": tmp_path, "model_name_or_path": tmp_path, "use_cpu": "true", "bf16": "false"}
    overrides = [word for key, value in given.items() for word in (f"--{key}", str(value))]
    stage, grpo, _, _ = parse_arguments(["--config", str(path), *overrides])
    assert stage.stage == "reinforce" and grpo.output_dir == read_yaml(path)["output_dir"]


def check_openai_job(path: Path) -> None:
    from finetune.openai_api.settings import JobSettings

    check_fields(JobSettings, path)


def check_accelerate(path: Path) -> None:
    from accelerate.commands.config.config_args import load_config_from_file

    load_config_from_file(str(path))


CHECKS: dict[str, Callable[..., None]] = {
    "accelerate/*.yaml": check_accelerate,
    "corpora/*.yaml": check_corpus,
    "data/*.yaml": check_data,
    "demo/data.yaml": check_data,
    "demo/demo.yaml": check_demo,
    "demo/*model.yaml": check_model,
    "demo/notes.yaml": check_stage,
    "demo/stage*.yaml": check_stage,
    "eval/predict*.yaml": check_predict,
    "eval/report*.yaml": check_report,
    "eval/score*.yaml": check_score,
    "grpo/*.yaml": check_reinforce,
    "openai/*.yaml": check_openai_job,
    "serving/adapters.yaml": check_serving,
    "serving/api.yaml": check_api,
    "serving/quantised.yaml": check_serving,
    "serving/transformers.yaml": check_serving,
    "serving/vllm*.yaml": check_serving,
    "sft/*.yaml": check_stage,
    "sft/*_model.yaml": check_model,
}
"""Which entry reads which configs; of several patterns the longest."""


def read_header(path: Path) -> list[str]:
    """Return the comment lines at the top of a config, without their marks."""
    header: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        header.append(line[1:])
    return header


@each_config
def test_entry_understands_it(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    relative = path.relative_to(ROOT / "configs")
    check = CHECKS[max((pattern for pattern in CHECKS if relative.match(pattern)), key=len)]
    if check in (check_corpus, check_reinforce, check_stage):
        check(path, tmp_path)
    else:
        check(path)


@each_config
def test_header_says_what_it_is_and_how_to_run_it(path: Path) -> None:
    header = read_header(path)
    relative = path.relative_to(ROOT).as_posix()
    assert header and len(header[0].strip()) > 20, "the first line says in words what the file is for"
    commands = [line for line in header if line.startswith("   ")]
    for line in commands:
        for words in split_commands(line):
            check_command(words)
    assert any(relative in line or "--config" not in line for line in commands) or any("Used by:" in line for line in header)


@each_config
def test_inputs_are_there_or_another_config_writes_them(path: Path) -> None:
    written = {str(yaml.safe_load(other.read_text()).get("output_dir")) for other in CONFIGS.values()}
    for key, value in yaml.safe_load(path.read_text()).items():
        if isinstance(value, str) and value.startswith("configs/"):
            assert (ROOT / value).is_file(), f"{key}: no file {value}"
        if key in ("data", "model", "model_name_or_path") and isinstance(value, str) and value.startswith("outputs/"):
            assert any(Path(value).is_relative_to(folder) for folder in written), f"{key}: no config writes {value}"


def test_there_are_configs_and_json_beside_them_parses() -> None:
    import json

    assert len(CONFIGS) > 5
    for path in (ROOT / "configs").rglob("*.json"):
        assert isinstance(json.loads(path.read_text()), dict), path
    for path in (ROOT / "configs").rglob("*"):
        assert path.is_dir() or path.suffix in (".yaml", ".json"), path
