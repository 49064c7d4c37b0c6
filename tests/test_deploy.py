"""The files for deploying: every command in them is taken by the entry it starts, and their tools accept them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "serving" / "deploy"
UNITS = ("icdtune-api.service", "icdtune-vllm.service")


def read_stages() -> dict[str, list[str]]:
    """Return the instructions of each stage of the container file, continued lines joined."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text())
    stages: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := re.fullmatch(r"FROM \S+ AS (\S+)", line):
            stages[match[1]] = []
        elif stages and line.strip() and not line.startswith("#"):
            list(stages.values())[-1].append(" ".join(line.split()))
    return stages


def read_command(stage: str) -> list[str]:
    """Return what a container of the stage runs."""
    words: list[str] = []
    for name in ("ENTRYPOINT", "CMD"):
        (line,) = [line for line in read_stages()[stage] if line.startswith(f"{name} ")]
        words += yaml.safe_load(line.removeprefix(name).strip())
    return words


def read_unit(name: str) -> list[tuple[str, str]]:
    lines = [line for line in (DEPLOY / name).read_text().splitlines() if "=" in line and not line.startswith("#")]
    return [(key, value) for key, _, value in (line.partition("=") for line in lines)]


def run_dry(words: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the files with this Python, which starts nothing."""
    assert re.fullmatch(r"(.*/)?python3?", words[0]) and words[1] == "-m"
    command = [sys.executable, *words[1:], "--dry-run"]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)


def list_commands() -> list[tuple[str, list[str]]]:
    assert read_command("vllm-cpu")[1:] == read_command("vllm")[1:]
    found = [(stage, read_command(stage)) for stage in ("api", "vllm")]
    return found + [(unit, shlex.split(dict(read_unit(unit))["ExecStart"])) for unit in UNITS]


@pytest.mark.parametrize(("name", "words"), list_commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_is_one_that_its_entry_takes(
    name: str, words: list[str], random_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = tmp_path / "api_keys"
    keys.write_text("ward-3=" + "k" * 40 + "\n")
    keys.chmod(0o600)
    words = [str(random_checkpoint) if word in ("/model", "/var/lib/icdtune/model") else word for word in words]
    words = [str(tmp_path / Path(word).name) if word.startswith("/var/") else word for word in words]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "ICDTUNE_API_KEYS_FILE": str(keys), "VLLM_API_KEY": "inside"}
    done = run_dry(words, **environment)
    assert done.returncode == 0, done.stderr
    assert ("listens on" in done.stdout) == ("api" in name)
    assert ("vllm.entrypoints" in done.stdout) == ("vllm" in name)


def test_only_the_coding_api_can_be_reached_and_only_with_a_key() -> None:
    compose: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    vllm, api = compose["services"]["vllm"], compose["services"]["api"]
    assert "ports" not in vllm and vllm["networks"] == ["inside"] and compose["networks"]["inside"]["internal"] is True
    assert api["ports"] == ["${ICDTUNE_PUBLISH:-127.0.0.1:8080}:8080"]
    assert api["environment"]["ICDTUNE_API_KEYS_FILE"] == "/run/secrets/api_keys" and api["secrets"] == ["api_keys"]
    assert vllm["environment"]["VLLM_API_KEY"] == api["environment"]["OPENAI_API_KEY"]
    assert vllm["volumes"] == ["${ICDTUNE_MODEL:?the checkpoint folder}:/model:ro"]
    targets = {vllm["build"]["target"].removeprefix("${ICDTUNE_TARGET:-").rstrip("}"), api["build"]["target"]}
    assert targets <= set(read_stages())
    assert all((DEPLOY / service["build"]["context"] / service["build"]["dockerfile"]).is_file() for service in (vllm, api))


def test_the_audit_log_lies_on_the_volume() -> None:
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    words = read_command("api")
    audit = Path(words[words.index("--audit-file") + 1])
    volume, mounted = compose["services"]["api"]["volumes"][0].split(":")
    assert volume in compose["volumes"] and audit.is_relative_to(mounted)
    assert f"VOLUME {mounted}" in read_stages()["api"]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
@pytest.mark.parametrize("unit", UNITS)
def test_systemd_takes_the_units(unit: str, tmp_path: Path) -> None:
    for name in UNITS:
        (tmp_path / name).write_text((DEPLOY / name).read_text().replace("/opt/icdtune/.venv/bin/python", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(tmp_path / unit)], capture_output=True, text=True, timeout=60
    )
    told = [line for line in done.stderr.splitlines() if "icdtune" in line]
    assert done.returncode == 0 and not told, done.stderr


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_takes_the_configuration(tmp_path: Path) -> None:
    request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "1"]
    files = {"-keyout": tmp_path / "privkey.pem", "-out": tmp_path / "fullchain.pem"}
    subprocess.run([*request, *(str(word) for pair in files.items() for word in pair)], capture_output=True, check=True)
    site = (DEPLOY / "nginx.conf").read_text().replace("/etc/icdtune/tls", str(tmp_path))
    (tmp_path / "site.conf").write_text(site)
    main = f"pid {tmp_path}/pid; error_log stderr; events {{}} http {{ include {tmp_path}/site.conf; }}"
    (tmp_path / "nginx.conf").write_text(main)
    done = subprocess.run(["nginx", "-t", "-c", str(tmp_path / "nginx.conf")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
