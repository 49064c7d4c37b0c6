"""From settings to the vLLM command: nothing hidden, and every mistake told before anything starts."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import is_running

from icd10cm.config import check_settings
from icd10cm.errors import CheckpointError, ConfigError, EngineError
from serving import hardware, process, serve
from serving.checkpoint import check_checkpoint
from serving.command import ServeSettings, build_launch, describe_served
from serving.engines import choose_engine
from serving.model_facts import SERVED_VARIABLE, Served

ROOT = Path(__file__).parent.parent
CONFIG = str(ROOT / "configs" / "serving" / "vllm.yaml")


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that something listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_the_flags_say_what_the_settings_say(random_checkpoint: Path) -> None:
    extra = {"seed": 3, "enable-chunked-prefill": False, "--trust-remote-code": True, "allowed-origins": ["a", "b"], "x": None}
    settings = ServeSettings(
        model=random_checkpoint, port=8123, max_model_len=200, max_num_seqs=9, quantization="fp8", extra_args=extra
    )
    command, environment = build_launch(settings, check_checkpoint(random_checkpoint))
    words = " ".join(command)
    for part in ("--port 8123", "--max-model-len 200", "--max-num-seqs 9", "--dtype float32", "--served-model-name icdtune"):
        assert part in words
    for part in (
        "--seed 3",
        "--no-enable-chunked-prefill",
        "--trust-remote-code",
        "--allowed-origins a b",
        "--quantization fp8",
    ):
        assert part in words
    assert "--x" not in words and "CodeConstraint" in words and "serving.middleware.Gate" in words
    assert "parallel" not in words
    defaults = json.loads(command[command.index("--override-generation-config") + 1])
    assert defaults == {"temperature": 0.0, "max_new_tokens": 512}
    served = Served.model_validate_json(environment[SERVED_VARIABLE])
    assert (served.context, served.models) == (200, {"icdtune": random_checkpoint.resolve()})
    assert environment["VLLM_NO_USAGE_STATS"] == "1"


def test_what_is_switched_off_is_not_there(random_checkpoint: Path) -> None:
    settings = ServeSettings(
        model=random_checkpoint, constrained=False, prompt_template=False, kv_cache_gib=0.5, enable_prefix_caching=False
    )
    command, environment = build_launch(settings, check_checkpoint(random_checkpoint))
    assert "--logits-processors" not in command
    assert not Served.model_validate_json(environment[SERVED_VARIABLE]).prompt_template
    assert command[command.index("--kv-cache-memory-bytes") + 1] == str(2**29) and "--no-enable-prefix-caching" in command


def test_a_code_file_reaches_the_constraint(random_checkpoint: Path, tmp_path: Path) -> None:
    code_file = tmp_path / "icd10cm_codes_2026.txt"
    code_file.write_text("")
    settings = ServeSettings(model=random_checkpoint, code_file=code_file)
    assert build_launch(settings, check_checkpoint(random_checkpoint)).environment["ICDTUNE_CODE_FILE"] == str(code_file)


def test_extra_flags_cannot_contradict_settings(random_checkpoint: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        check_settings(ServeSettings, {"model": "m", "extra_args": {"port": 1, "--logits-processors": "a"}}, "here")
    assert "'port' is set by port" in str(caught.value) and "set by constrained" in str(caught.value)
    too_long = ServeSettings(model=random_checkpoint, max_model_len=10_000)
    with pytest.raises(ConfigError, match="10000 is more than the 256 tokens"):
        build_launch(too_long, check_checkpoint(random_checkpoint))


@pytest.mark.slow
def test_vllm_itself_understands_every_flag(random_checkpoint: Path) -> None:
    settings = ServeSettings(
        model=random_checkpoint, max_num_seqs=9, kv_cache_gib=0.5, tensor_parallel_size=2, data_parallel_size=2,
        enable_prefix_caching=False, quantization="fp8", shutdown_timeout=7, extra_args={"seed": 3},
    )  # fmt: skip
    command, environment = build_launch(settings, check_checkpoint(random_checkpoint))
    program = (
        "import sys; from vllm.entrypoints.launchers.cli_args import make_arg_parser; "
        "from vllm.utils.argparse_utils import FlexibleArgumentParser as P; "
        "given = vars(make_arg_parser(P()).parse_args(sys.argv[1:])); "
        "print(*(given[name] for name in ('max_num_seqs', 'data_parallel_size', 'shutdown_timeout')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *command[3:]], env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.stdout.splitlines()[-1:] == ["9 2 7"], done.stderr[-2000:]


def test_dry_run_prints_a_command_for_the_shell(random_checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert serve.run(["--config", CONFIG, "--model", str(random_checkpoint), "--dry-run"]) == 0
    words = shlex.split(capsys.readouterr().out.replace("\\\n", " "))
    settings = ServeSettings.model_validate({"model": random_checkpoint, "gpu_memory_utilization": 0.9})
    launch = build_launch(settings, check_checkpoint(random_checkpoint))
    assert words[-len(launch.command) :] == launch.command
    assert {f"{name}={value}" for name, value in launch.environment.items()} == set(words[: -len(launch.command)])


def test_a_port_in_use_is_named_with_one_that_is_free(
    random_checkpoint: Path, taken_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    started = time.monotonic()
    assert serve.run(["--config", CONFIG, "--model", str(random_checkpoint), "--port", str(taken_port)]) == 2
    error = capsys.readouterr().err
    free = process.find_free_port("127.0.0.1", taken_port)
    assert error == (f"icdtune: error: port {taken_port} on 127.0.0.1 is in use; port {free} is free: --port {free}\n")
    assert time.monotonic() - started < 5


def test_an_address_that_others_reach_needs_a_key(
    random_checkpoint: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["--config", CONFIG, "--model", str(random_checkpoint), "--host", "0.0.0.0", "--dry-run"]
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    assert serve.run(words) == 2 and "set VLLM_API_KEY" in capsys.readouterr().err
    assert serve.run([*words, "--extra-args", "{api-key: inside}"]) == 0
    monkeypatch.setenv("VLLM_API_KEY", "inside")
    assert serve.run(words) == 0 and "inside" not in capsys.readouterr().out.rpartition("--api-key")[0]


def test_a_host_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot listen on"):
        process.check_port("no-such-host.invalid", 8000)


def test_bad_checkpoints_are_refused_before_anything_starts(
    random_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    untold = tmp_path / "untold"
    shutil.copytree(random_checkpoint, untold)
    for name in ("chat_template.jinja", "tokenizer_config.json"):
        (untold / name).unlink(missing_ok=True)
    for folder, words in ((tmp_path / "nowhere", "no such checkpoint folder"), (untold, "has no chat template")):
        assert serve.run(["--config", CONFIG, "--model", str(folder)]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"icdtune: error: {folder}: ") and words in line


def test_a_head_size_that_the_cpu_build_cannot_serve_is_refused(
    random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = check_checkpoint(random_checkpoint)
    monkeypatch.setattr(hardware, "is_cpu_build", lambda: True)
    hardware.check_head_size(checkpoint)
    with pytest.raises(CheckpointError, match="size 16 cannot be served"):
        hardware.check_head_size(checkpoint._replace(head_size=16))


def test_processes_that_share_a_cpu_share_its_threads(random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "is_cpu_build", lambda: True)
    checkpoint = check_checkpoint(random_checkpoint)
    one = build_launch(ServeSettings(model=random_checkpoint, cpu_threads=6), checkpoint)
    two = build_launch(ServeSettings(model=random_checkpoint, cpu_threads=6, tensor_parallel_size=2), checkpoint)
    names = ("VLLM_ENABLE_V1_MULTIPROCESSING", "OMP_NUM_THREADS")
    assert [one.environment[name] for name in names] == ["0", "6"]
    assert [two.environment[name] for name in names] == ["1", "3"] and "--tensor-parallel-size 2" in " ".join(two.command)


@pytest.mark.parametrize(
    ("host", "said", "allowed"), [("127.0.0.1", None, True), ("0.0.0.0", None, False), ("0.0.0.0", True, True)]
)
def test_only_this_machine_may_switch_the_limit_off_unasked(
    random_checkpoint: Path, host: str, said: bool | None, allowed: bool
) -> None:
    settings = ServeSettings(model=random_checkpoint, host=host, allow_unconstrained=said)
    assert describe_served(settings, check_checkpoint(random_checkpoint), "vllm").allow_unconstrained is allowed


def test_the_cache_fits_two_long_answers(random_checkpoint: Path) -> None:
    checkpoint = check_checkpoint(random_checkpoint)
    assert hardware.choose_cache_bytes(checkpoint, 256) == 256 * 2**20
    assert hardware.choose_cache_bytes(checkpoint._replace(token_bytes=131_072), 8192) == 2 * 131_072 * 8192


@pytest.mark.parametrize(
    ("engine", "model", "url", "words"),
    [
        ("auto", None, None, "--model"),
        ("auto", "m", "u", "not both"),
        ("endpoint", "m", None, "needs --base-url"),
        ("vllm", None, "u", "needs --model"),
        ("gpt", "m", None, "no engine 'gpt'"),
    ],
)
def test_an_engine_without_what_it_needs_is_refused(engine: str, model: str | None, url: str | None, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        choose_engine(engine, Path(model) if model else None, url)


def test_stopping_ends_the_whole_tree_even_where_it_does_not_listen(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
    program = (
        "import pathlib, subprocess, sys, os, time; "
        f"p = subprocess.Popen([sys.executable, '-c', {child!r}]); "
        f"pathlib.Path({str(pids)!r}).write_text(f'{{os.getpid()}} {{p.pid}}'); time.sleep(600)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], start_new_session=True)
    deadline = time.monotonic() + 20
    while not (pids.exists() and pids.read_text()) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "_STOP_SECONDS", 1.0)
        process.stop_process(parent, 0.5)
    deadline = time.monotonic() + 5  # a killed process takes a moment to go
    members = [int(pid) for pid in pids.read_text().split()]
    while any(map(is_running, members)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, members))


def test_a_second_ctrl_c_does_not_wait_for_requests_under_way() -> None:
    child = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    program = (
        "import subprocess, sys; from serving.process import stop_process; "
        f"child = subprocess.Popen([sys.executable, '-c', {child!r}], start_new_session=True, stdout=subprocess.PIPE); "
        "child.stdout.readline(); print(child.pid, flush=True); stop_process(child, 600)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as stopping:
        assert stopping.stdout
        pid = int(stopping.stdout.readline())
        time.sleep(1)
        assert stopping.poll() is None and is_running(pid)
        stopping.send_signal(signal.SIGINT)
        stopping.wait(timeout=15)
    deadline = time.monotonic() + 5
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(pid)
