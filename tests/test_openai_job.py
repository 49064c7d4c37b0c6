"""Stages through OpenAI's fine-tuning API, against a server process: what is sent, what it costs, and nothing of it twice."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml
from fine_tuning_server import METRICS, TOKENS_PER_ROW, Provider, start_provider

from data_gen.examples import Example, write_examples
from finetune import openai_job
from finetune.openai_api.tokens import load_counter
from icd10cm.prompts import INSTRUCTION

ROOT = Path(__file__).parent.parent
CODES = [f"E11.{number}" for number in (8, 9, 21, 22, 29, 36, 40, 41, 42, 43, 44, 49)]
KEY = "sk-test"


@pytest.fixture(scope="module")
def server() -> Iterator[Provider]:
    with start_provider() as provider:
        yield provider


@pytest.fixture
def provider(server: Provider) -> Provider:
    server.tell(reset=True, key=KEY)
    return server


@pytest.fixture
def config(tmp_path: Path, provider: Provider) -> Path:
    write_data(tmp_path / "data")
    return write_config(tmp_path, provider)


def write_data(folder: Path, n: int = 12, text: str = "diabetes with finding {}", source: str = "cms") -> None:
    """Write one title and one misspelling of each of `n` codes; validation asks another spelling."""
    for split in ("train", "validation"):
        rows = [
            Example(
                f"{split}-{scenario}-{code}", scenario, f"{split} {text} {mark}".format(code), (code,), split, source, "2026"
            )
            for code in CODES[:n]
            for scenario, mark in (("base", ""), ("typo", "dibetes"))
        ]
        write_examples(folder / f"{split}.parquet", rows)


def write_config(folder: Path, provider: Provider, **settings: Any) -> Path:
    content = {
        "data": str(folder / "data"),
        "output_dir": str(folder / "stage1"),
        "base_url": provider.url,
        "model": "gpt-4o-mini",
        "scenarios": ["base"],
        "n_epochs": 2,
        "price": {"as_of": "2026-11-21", "training_per_million_usd": 10.0},
        "poll_seconds": 0.01,
        "settle_seconds": 0.3,
        "retries": 2,
        **settings,
    }
    path = folder / f"{Path(content['output_dir']).name}.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


class Done(NamedTuple):
    status: int
    stdout: str
    stderr: str

    @property
    def error(self) -> str:
        """The one line of an error."""
        assert self.status == 2, self.stderr
        (line,) = [line for line in self.stderr.splitlines() if "icdtune: error" in line]
        return line


def call(config: Path, *arguments: str, key: str = KEY) -> Done:
    stdout, stderr = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(stdout), contextlib.redirect_stderr(stderr):
        patch.setenv("OPENAI_API_KEY", key)
        status = openai_job.run(["--config", str(config), *arguments])
    return Done(status, stdout.getvalue(), stderr.getvalue())


def start(config: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "finetune.openai_job", "--config", str(config)]
    environment = os.environ | {"OPENAI_API_KEY": KEY}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)


def read_run(config: Path) -> dict[str, Any]:
    return json.loads((Path(yaml.safe_load(config.read_text())["output_dir"]) / "run.json").read_text())


def check_nothing_twice(provider: Provider) -> None:
    seen = provider.tell()
    assert len(seen["files"]) == 2 and len(seen["jobs"]) == 1, seen


def test_two_stages(tmp_path: Path, config: Path, provider: Provider) -> None:
    done = call(config)
    assert done.status == 0, done.stderr
    model = "ft:gpt-4o-mini:org::ftjob-0"
    run = read_run(config)
    assert run["fine_tuned_model"] == model and run["finished"] and not run["sent"]
    assert run["trained_tokens"] == 12 * 2 * TOKENS_PER_ROW and run["cost_usd"] == pytest.approx(12 * 2 * TOKENS_PER_ROW * 1e-5)
    assert run["checkpoints"] == [{"model": "ft:step-10:ftjob-0", "step": 10, "metrics": {"train_loss": 0.5}}]
    assert (tmp_path / "stage1" / "metrics.csv").read_text() == METRICS
    assert "successfully completed" in done.stderr and "status: running" in done.stderr and model in done.stderr
    assert done.stderr.count("Created fine-tuning job") == 1 and "20/20" in done.stderr
    again = call(config)
    assert again.status == 0 and "already fine-tuned" in again.stderr

    second = write_config(
        tmp_path,
        provider,
        model=str(tmp_path / "stage1"),
        output_dir=str(tmp_path / "stage2"),
        stage="enhanced",
        scenarios=None,
        repeats={"base": 2},
        batch_size=4,
        learning_rate_multiplier=0.5,
        seed=11,
        suffix="icd",
        instruct=False,
    )
    assert call(second).status == 0
    seen = provider.tell()
    assert len(seen["jobs"]) == 2
    asked = seen["requests"][1]
    assert asked["model"] == model and asked["seed"] == 11 and asked["suffix"] == "icd"
    chosen = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5}
    assert asked["method"] == {"type": "supervised", "supervised": {"hyperparameters": chosen}}
    first, later = (
        [json.loads(line)["messages"] for line in seen["contents"][request["training_file"]].splitlines()]
        for request in seen["requests"]
    )
    assert first[0] == [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": "train diabetes with finding E11.8"},
        {"role": "assistant", "content": "E11.8"},
    ]
    assert (
        len(first) == 12 and len(later) == 36 and {message["role"] for row in later for message in row} == {"user", "assistant"}
    )


def test_dry_run_needs_no_key_and_no_network(tmp_path: Path, config: Path) -> None:
    there = write_config(tmp_path, Provider(1), base_url="https://api.example.com/v1", output_dir=str(tmp_path / "dry"))
    done = call(there, "--dry-run", key="")
    assert done.status == 0, done.stderr
    tokens = int(done.stdout.split("epochs  2, so ")[1].split(" tokens")[0].replace(",", ""))
    assert f"about ${tokens * 1e-5:,.4f} by the price of 2026-11-21" in done.stdout
    assert "12 training rows (12 base), 12 for validation" in done.stdout
    assert INSTRUCTION in done.stdout and "train diabetes with finding E11.8" in done.stdout
    assert not (tmp_path / "dry").exists()
    assert "export OPENAI_API_KEY" in call(there, key="").error


def test_faults_in_passing_are_outlived(config: Path, provider: Provider) -> None:
    jobs, files = "POST fine_tuning/jobs", "POST files"
    provider.tell(
        faults=[
            [files, "busy"],
            [files, "lost"],
            [jobs, "late"],
            ["GET fine_tuning/jobs/ftjob-0/events", "lost"],
            ["GET fine_tuning/jobs/ftjob-0/events", "broken"],
            ["GET fine_tuning/jobs/ftjob-0", "busy"],
        ]
    )
    done = call(config, "--settle-seconds", "30")
    assert done.status == 0, done.stderr
    check_nothing_twice(provider)
    assert provider.tell()["seen"][files] == 3 and provider.tell()["seen"][jobs] == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_while_the_job_is_created(config: Path, provider: Provider, when: str) -> None:
    provider.tell(faults=[["POST fine_tuning/jobs", f"hangs {when}"]])
    # forked, so that it need not load everything again
    process = multiprocessing.get_context("fork").Process(target=call, args=(config,))
    process.start()
    provider.wait_for("POST fine_tuning/jobs")
    process.kill()
    process.join()
    assert read_run(config)["sent"].keys() == {"job_id"}
    assert call(config).status == 0
    check_nothing_twice(provider)


def test_killed_and_interrupted_while_watching(config: Path, provider: Provider) -> None:
    provider.tell(hold=True)
    events = "GET fine_tuning/jobs/ftjob-0/events"
    with start(config) as process:
        provider.wait_for(events, 8)
        assert "another process works on this job" in call(config).error
        process.kill()

    def interrupt() -> None:
        provider.wait_for(events, provider.tell()["seen"][events] + 4)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    stopped = call(config)
    assert stopped.status == 130 and "goes on at the provider" in stopped.stderr
    assert "Created fine-tuning job" not in stopped.stderr, "it was shown before the kill"
    assert "job ftjob-0 may be under way" in call(config, "--on-existing", "delete").error
    assert "seed was 7, is 8" in call(config, "--seed", "8").error
    provider.tell(hold=False)
    assert call(config).status == 0
    check_nothing_twice(provider)


def test_a_job_that_fails_names_the_reason_and_is_created_anew(tmp_path: Path, provider: Provider) -> None:
    write_data(tmp_path / "data", text="forbidden {}")
    config = write_config(tmp_path, provider)
    assert "job ftjob-0 failed: the training file was blocked by the usage policies" in call(config).error
    assert "job ftjob-1 failed" in call(config).error
    assert len(provider.tell()["files"]) == 2


def test_cancel(config: Path, provider: Provider) -> None:
    assert "run.json" in call(config, "--cancel").error
    provider.tell(faults=[["POST fine_tuning/jobs", "lost"]])
    assert "run the same command again to go on" in call(config, "--retries", "0").error
    done = call(config, "--cancel")
    assert (done.status, done.stdout) == (0, "job ftjob-0: cancelled\n")
    assert "nothing to cancel" in call(config, "--cancel").error
    assert call(config).status == 0 and read_run(config)["job_id"] == "ftjob-1"


def test_cancelled_by_somebody_else(config: Path, provider: Provider) -> None:
    provider.tell(end="cancelled")
    assert "job ftjob-0 was cancelled; " in call(config).error
    assert read_run(config)["job_id"] is None


def test_bad_key_and_what_is_no_api(config: Path, provider: Provider) -> None:
    assert "HTTP 401: Incorrect API key provided; check OPENAI_API_KEY" in call(config, key="sk-wrong").error
    provider.tell(faults=[["POST files", "html"]])
    assert "no answer of a fine-tuning API" in call(config).error
    assert call(config, "--model", "gpt-5").error.count("model was") and not provider.tell()["jobs"]


def test_nothing_is_sent_above_the_price_limit(config: Path, provider: Provider) -> None:
    assert "more than max_cost_usd 0.001" in call(config, "--max-cost-usd", "0.001").error
    assert provider.tell()["seen"] == {}
    assert call(config, "--max-cost-usd", "1").status == 0, "the limit is no setting of the model"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--stage", "notes"], "stage notes counts as clinical text"),
        (["--price", "null"], "price is needed for api.example.com"),
        (["--base-url", "ftp://x"], "is not an address"),
        (["--scenarios", "bsae"], "did you mean 'base'?"),
        (["--n-epochs", "auto"], "'n_epochs'"),
        (["--model", "outputs/none"], "run the stage that writes it first"),
        (["--max-length", "20"], "more than max_length 20"),
        (["--scenarios", "note"], "no example of scenario note"),
    ],
)
def test_refused_before_anything_is_sent(tmp_path: Path, config: Path, arguments: list[str], complaint: str) -> None:
    there = write_config(tmp_path, Provider(1), base_url="https://api.example.com/v1")
    assert complaint in call(there, *arguments).error


def test_clinical_data_stays_here(tmp_path: Path, provider: Provider) -> None:
    write_data(tmp_path / "data", source="mimic-iv")
    there = write_config(tmp_path, Provider(1), base_url="https://api.example.com/v1")
    assert "source mimic-iv counts as clinical text" in call(there, "--dry-run").error
    assert call(there, "--dry-run", "--stage", "notes", "--allow-clinical-text-to-leave").status == 0
    write_data(tmp_path / "data")
    made = {"schema_version": 1, "settings": {"prior": {"diagnoses_file": "diagnoses_icd.csv"}, "writer": None}}
    (tmp_path / "data" / "run.json").write_text(json.dumps(made))
    assert "diagnoses_file diagnoses_icd.csv" in call(there, "--dry-run").error
    assert call(write_config(tmp_path, provider), "--dry-run").status == 0, "this machine may see it"


def test_files_a_provider_would_refuse(tmp_path: Path, provider: Provider) -> None:
    write_data(tmp_path / "data", n=9)
    config = write_config(tmp_path, provider)
    assert "9 training rows; the API wants at least 10" in call(config).error
    write_data(tmp_path / "data")
    (tmp_path / "data" / "validation.parquet").write_bytes((tmp_path / "data" / "train.parquet").read_bytes())
    assert "12 validation texts are training texts too" in call(config).error
    assert call(config, "--validation-size", "0").status == 0 and len(provider.tell()["files"]) == 1


def test_tokens_are_counted_where_the_vocabulary_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiktoken = pytest.importorskip("tiktoken")
    messages = [{"role": "user", "content": "fièvre"}, {"role": "assistant", "content": "R50.9"}]
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(tmp_path))
    estimate = load_counter("gpt-4o-mini")
    assert "estimated" in estimate.source and estimate.count(messages) > 12
    # tiktoken itself, with the 256 bytes for a vocabulary
    encoding = tiktoken.Encoding(
        "o200k_base", pat_str=r".+", mergeable_ranks={bytes([i]): i for i in range(256)}, special_tokens={}
    )
    monkeypatch.setitem(tiktoken.registry.ENCODINGS, "o200k_base", encoding)
    address = "https://openaipublic.blob.core.windows.net/encodings/o200k_base.tiktoken"
    (tmp_path / hashlib.sha1(address.encode()).hexdigest()).touch()
    counted = load_counter("gpt-4o-mini")
    assert counted.count(messages) == 3 + (4 + 7) + (4 + 5) and "o200k_base" in counted.source
