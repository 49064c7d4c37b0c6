"""The documents: every command in a bash block is understood, every file named exists, Python blocks compile."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from command_lines import check_command, find_blocks, split_commands

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("benchmarks/*.md")])
COMMANDS = {
    f"{path.relative_to(ROOT)}: {' '.join(words)}": words
    for path in DOCUMENTS
    for block in find_blocks(path.read_text(encoding="utf-8"), "bash")
    for words in split_commands(block)
}


@pytest.mark.parametrize("words", COMMANDS.values(), ids=COMMANDS)
def test_command_is_understood(words: list[str]) -> None:
    check_command(words)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_python_blocks_compile(path: Path) -> None:
    for block in find_blocks(path.read_text(encoding="utf-8"), "python"):
        compile(block, str(path), "exec")


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_to_files(path: Path) -> None:
    for target in re.findall(r"\]\((?!\w+:|#)([^)#\s]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_readme_shows_the_two_commands_of_a_newcomer() -> None:
    shown = {tuple(words) for name, words in COMMANDS.items() if name.startswith("README.md")}
    assert {("make", "demo"), ("make", "test")} <= shown


def test_every_benchmark_is_listed() -> None:
    listed = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{path.name}` |" in listed for path in (ROOT / "benchmarks").glob("*.py"))


@pytest.mark.parametrize(
    "script",
    [
        "make demo",
        "python -m data_gen.generate --config configs/data/full.yaml --dry-run",
        "icdtune generate --config configs/data/full.yaml --output-dir outputs/x  # comment",
        "accelerate launch --config_file configs/accelerate/cpu.yaml \\\n  -m finetune.sft --config configs/demo/stage1.yaml",
        "CUDA_VISIBLE_DEVICES=0 python -m finetune.sft --learning_rate 1.0e-3 2> log.txt | head -3",
        "curl http://127.0.0.1:8000/v1/completions -d '{\n  \"a\": 1}' && git status",
        "python -m venv .venv",
    ],
)
def test_the_check_accepts_what_works(script: str) -> None:
    commands = list(split_commands(script))
    assert commands
    for words in commands:
        check_command(words)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("make dmeo", "no make target"),
        ("python -m data_gen.generat", "no module"),
        ("python -m data_gen.generate --confg configs/data/full.yaml", "knows no flag confg"),
        ("python -m data_gen.generate --config configs/data/none.yaml", "no file"),
        ("icdtune genrate", "no command icdtune"),
        ("accelerate launch --config_file configs/accelerate/none.yaml -m finetune.sft --dry-run", "no file"),
        (
            "accelerate launch --config_file configs/accelerate/cpu.yaml -m finetune.sft --learning_rat 1",
            "knows no flag learning_rat",
        ),
        ("accelerate launch finetune/sft.py", "started as a module"),
        ("pyton -m data_gen.generate", "unknown program"),
        ("python benchmarks/none.py", "no script"),
    ],
)
def test_the_check_refuses_what_does_not(script: str, complaint: str) -> None:
    with pytest.raises(AssertionError, match=complaint):
        for words in split_commands(script):
            check_command(words)
