"""Which model answers where none is named, and what the embedded one says of everyday coding."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from icd10cm import CodeSet
from icd10cm.cli import main as run_command
from icd10cm.run_header import hash_file
from serving import code, default_model
from serving.api import start
from serving.checkpoint import check_checkpoint, find_weights
from serving.default_model import DEMO_MODEL, EMBEDDED_MODEL, MODEL_VARIABLE, describe_model, find_model
from serving.model_facts import hash_weights

ROOT = Path(__file__).parent.parent
LARGEST_BYTES = 16 * 10**6
EVERYDAY = {
    "type 2 diabetes with foot ulcer": "E11.621",
    "T2DM w/ foot ulcer": "E11.621",
    "essential hypertension": "I10",
    "COPD w/ acute exacerbation": "J44.1",
    "UTI, site not specified": "N39.0",
    "unspec afib": "I48.91",
    "pneumonia, unspecified organism": "J18.9",
    "GERD without esophagitis": "K21.9",
    "hypothyroidism, unspecified": "E03.9",
    "acute kidney failure, unspecified": "N17.9",
    "heart failure, unspecified": "I50.9",
    "acute on chronic systolic heart failure": "I50.23",
    "MDD, single episode, unspecified": "F32.9",
    "low back pain, unspecified": "M54.50",
    "hyperlipidemia, unspecified": "E78.5",
    "iron deficiency anemia, unspecified": "D50.9",
    "type 2 diabetes mellitus without complications": "E11.9",
    "generalized anxiety disorder": "F41.1",
    "CKD stage 3a": "N18.31",
    "old myocardial infarction": "I25.2",
}
needs_embedded = pytest.mark.skipif(
    not EMBEDDED_MODEL.is_dir(), reason=f"{EMBEDDED_MODEL.relative_to(ROOT)}: not in this checkout"
)


@pytest.fixture(autouse=True)
def nothing_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start each test without a model in the environment."""
    monkeypatch.delenv(MODEL_VARIABLE, raising=False)


@pytest.fixture
def stand_in(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The random checkpoint in the place of the embedded model."""
    monkeypatch.setattr(default_model, "EMBEDDED_MODEL", random_checkpoint)
    return random_checkpoint


def test_the_named_model_comes_first_then_the_variable_the_embedded_one_and_the_demo(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    embedded = tmp_path / "embedded"
    monkeypatch.setattr(default_model, "EMBEDDED_MODEL", embedded)
    assert find_model() == embedded
    DEMO_MODEL.mkdir(parents=True)
    assert find_model() == DEMO_MODEL
    embedded.mkdir()
    assert find_model() == embedded
    monkeypatch.setenv(MODEL_VARIABLE, "")
    assert find_model() == embedded
    monkeypatch.setenv(MODEL_VARIABLE, str(tmp_path))
    assert find_model() == tmp_path
    assert find_model(Path("mine")) == Path("mine")


def test_a_phrase_is_coded_by_it_and_one_line_says_so(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert code.run(["gout", "--max-tokens", "20", "--threshold", "0"]) in (0, 1)
    said = capsys.readouterr().err.splitlines()
    (line,) = [line for line in said if line.startswith("model: ")]
    assert re.fullmatch(r"model: the embedded one \(0\.\d M parameters, release 2026\)", line)


def test_another_model_is_named_by_its_folder(random_checkpoint: Path) -> None:
    described = describe_model(check_checkpoint(random_checkpoint))
    assert described.startswith(f"{random_checkpoint} (0.") and "release 2026" in described


def test_servers_take_it_too(stand_in: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_command(["serve", "--dry-run"]) == 0
    out, err = capsys.readouterr()
    assert str(stand_in) in out and "model: the embedded one" in err
    words = ["--config", str(ROOT / "configs/serving/api.yaml"), "--audit-file", str(tmp_path / "audit.jsonl"), "--dry-run"]
    assert start.run(words) == 0
    assert f"-m serving.serve --model {stand_in}" in capsys.readouterr().out
    assert start.run([*words, "--base-url", "http://127.0.0.1:8000/v1"]) == 0
    assert "serving.serve" not in capsys.readouterr().out


def test_codes_of_another_release_than_its_own_are_warned_of(
    stand_in: Path, code_file_lines: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "icd10cm_codes_2025.txt"
    file.write_text("\n".join(code_file_lines))
    code.run(["gout", "--code-file", str(file), "--max-tokens", "20", "--evidence", "false"])
    (warning,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    assert "trained on release 2026, but the codes of release 2025 are loaded" in warning


@pytest.mark.parametrize("command", [["code", "gout"], ["serve"], ["api", "--port", "18790"]], ids=lambda words: words[0])
def test_where_it_was_deleted_one_line_says_what_to_do(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(default_model, "EMBEDDED_MODEL", tmp_path / "gone")
    assert run_command(command) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"icdtune: error: {tmp_path / 'gone'}: no such folder") and "--model" in line


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What one process without a named model writes for each everyday line, sure or not."""
    folder = tmp_path_factory.mktemp("elsewhere")
    (folder / "lines.txt").write_text("\n".join(EVERYDAY))
    command = [sys.executable, "-m", "serving.code", "--file", "lines.txt", "--json", "--evidence", "false"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode in (0, 1), done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["text"]: [one["code"] for one in (*row["codes"], *row["candidates"])] for row in rows}


def test_everyday_lines_mean_billable_codes(codes: CodeSet) -> None:
    assert len(EVERYDAY) == 20 and all(codes.is_billable(expected) for expected in EVERYDAY.values())


@needs_embedded
@pytest.mark.parametrize(("text", "expected"), EVERYDAY.items(), ids=EVERYDAY)
def test_everyday_coding(answers: dict[str, list[str]], text: str, expected: str) -> None:
    assert answers[text] == [expected]


@needs_embedded
def test_a_fresh_process_anywhere_answers(tmp_path: Path) -> None:
    started = time.monotonic()
    command = [str(Path(sys.executable).parent / "icdtune"), "code", "type 2 diabetes with foot ulcer"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    print(f"answered after {time.monotonic() - started:.1f} s")
    assert done.returncode == 0 and "  E11.621 " in done.stdout, done.stdout + done.stderr
    assert "model: the embedded one (" in done.stderr


@needs_embedded
def test_its_folder_is_small_and_whole() -> None:
    assert sum(file.stat().st_size for file in EMBEDDED_MODEL.rglob("*") if file.is_file()) < LARGEST_BYTES
    checkpoint = check_checkpoint(EMBEDDED_MODEL, CodeSet.load().release)
    assert checkpoint.warnings == ()
    sha256 = hash_weights(find_weights(EMBEDDED_MODEL))
    assert json.loads((EMBEDDED_MODEL / "calibration.json").read_text())["model_sha256"] == sha256
    named = re.findall(r"\b[0-9a-f]{64}\b", (EMBEDDED_MODEL / "README.md").read_text(encoding="utf-8"))
    assert not named or sha256 in named, "the card names the weights of another model"


def test_the_weights_of_several_checkpoints_are_their_mean(
    random_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    script = runpy.run_path(str(ROOT / "benchmarks" / "embedded_model.py"))
    one, other, out = tmp_path / "one", tmp_path / "other", tmp_path / "out"
    weights = load_file(random_checkpoint / "model.safetensors")
    name, first = next(iter(weights.items()))
    for folder, factor in ((one, 1), (other, 3)):
        shutil.copytree(random_checkpoint, folder)
        save_file({key: weight * factor for key, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"})
        header = json.loads((folder / "run.json").read_text())
        (folder / "run.json").write_text(json.dumps(header | {"finished": True, "argv": ["sft.py"]}))
    assert script["run"](["weights", str(one), str(other), "--output", str(out)]) == 0
    assert torch.equal(load_file(out / "model.safetensors")[name], (first * 2).bfloat16())
    sources = json.loads((out / "run.json").read_text())["source_weights_sha256"]
    assert sources == [hash_file(folder / "model.safetensors") for folder in (one, other)]

    save_file(weights | {name: first[:1]}, other / "model.safetensors", {"format": "pt"})
    assert script["run"](["weights", str(one), str(other), "--output", str(out)]) == 2
    assert "has other weights than" in capsys.readouterr().err
