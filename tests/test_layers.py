"""The house's rules about imports: layers downward only, no module named like a dependency, nothing heavy at the door."""

from __future__ import annotations

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from icd10cm.cli import COMMANDS

ROOT = Path(__file__).parent.parent
MAY_IMPORT = {
    "icd10cm": set(),
    "data_gen": {"icd10cm"},
    "finetune": {"icd10cm", "data_gen"},
    "serving": {"icd10cm"},
    "eval": {"icd10cm", "serving", "data_gen"},
}
HEAVY = {"torch", "transformers", "openai", "vllm", "sklearn", "trl", "datasets", "accelerate", "matplotlib", "gradio"}
MODULES = sorted(path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py"))


def list_imports(path: Path) -> Iterator[str]:
    """Yield the dotted name of every module that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_go_downward(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    ours = {name.partition(".")[0] for name in list_imports(path)} & set(MAY_IMPORT)
    assert ours <= MAY_IMPORT[package] | {package}


def test_every_package_is_listed() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == set(MAY_IMPORT)


def test_no_module_is_named_like_a_dependency() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    required = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    distributions = {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in required} | {"vllm", "tokenizers"}
    taken = {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if {owner.lower().replace("_", "-") for owner in owners} & distributions
    } | distributions
    names = {path.stem for path in MODULES} | {path.parent.name for path in MODULES}
    assert len(taken) > 20 and not names & taken


def import_apart(program: str) -> subprocess.CompletedProcess[str]:
    """Run `program` in a new process that then prints which heavy packages it has loaded."""
    report = f"import sys; print('heavy:', *sorted(set(sys.modules) & {HEAVY!r}))"
    return subprocess.run([sys.executable, "-c", f"{program}\n{report}"], cwd=ROOT, capture_output=True, text=True, timeout=60)


def test_the_code_system_loads_nothing_heavy() -> None:
    files = (path.relative_to(ROOT).with_suffix("") for path in (ROOT / "icd10cm").rglob("*.py"))
    modules = [".".join(path.parts) for path in files if path.name != "__init__"]
    done = import_apart(f"import {', '.join(modules)}; from icd10cm import CodeSet; CodeSet.load()")
    assert done.stdout == "heavy:\n", done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_help_loads_nothing_heavy(command: str) -> None:
    done = import_apart(
        "from icd10cm.cli import main\n"
        f"try: status = main([{command!r}, '--help'])\n"
        "except SystemExit as stop: status = stop.code\n"
        "assert not status, status"
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    *text, heavy = done.stdout.splitlines()
    assert heavy == "heavy:" and "usage:" in text[0] and "--config" in done.stdout
