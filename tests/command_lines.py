"""Read shell commands out of documents and check that they would be understood: program, module, file, flags."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import importlib.util
import io
import itertools
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from icd10cm.cli import COMMANDS

ROOT = Path(__file__).parent.parent
PACKAGES = ("icd10cm", "data_gen", "finetune", "serving", "eval")
OTHER_PROGRAMS = {
    "cd",
    "cp",
    "curl",
    "docker",
    "export",
    "git",
    "head",
    "jq",
    "less",
    "mkdir",
    "open",
    "printf",
    "ruff",
    "mypy",
    "pytest",
    "source",
    "xdg-open",
}


def find_blocks(markdown: str, language: str) -> list[str]:
    """Return the content of every fenced block in `language`."""
    return re.findall(rf"^ *```{language}\n(.*?)^ *```", markdown, re.MULTILINE | re.DOTALL)


def split_commands(script: str) -> Iterator[list[str]]:
    """Yield each simple command of a shell script as words; pipes and `&&` separate, redirections and variables go."""
    pending = ""
    for line in script.replace("\\\n", " ").splitlines():
        pending += line
        reader = shlex.shlex(pending, posix=True, punctuation_chars=True)
        reader.whitespace_split = True
        try:
            words = list(reader)
        except ValueError:  # A quotation goes on in the next line.
            pending += "\n"
            continue
        pending = ""
        command: list[str] = []
        for word in [*words, ";"]:
            if set(word) <= set("|&;"):
                if command:
                    yield strip_shell(command)
                command = []
            else:
                command.append(word)
    assert not pending, f"quotation without end: {pending!r}"


def strip_shell(words: list[str]) -> list[str]:
    """Return a command without variables set before it and without redirections."""
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words = words[1:]
    kept: list[str] = []
    for before, word in zip(["", *words], words, strict=False):
        if not set(word) <= set("<>&") and not (before and set(before) <= set("<>&")):
            kept.append(word)
    return kept


def check_command(words: Sequence[str]) -> None:
    """Check that a command is one a reader can type. Raises `AssertionError` that says what is wrong with it."""
    program, *rest = words
    match program.removeprefix(".venv/bin/"):
        case "python" if rest[:1] == ["-m"]:
            check_module(rest[1], rest[2:])
        case "python":
            assert (ROOT / rest[0]).is_file(), f"no script {rest[0]}"
        case "icdtune":
            assert rest and (rest[0] in COMMANDS or rest == ["--help"]), f"no command icdtune {rest[:1]}"
            if rest[0] in COMMANDS:
                check_module(COMMANDS[rest[0]][0], rest[1:])
        case "accelerate":
            check_launch(rest)
        case "make":
            known = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
            unknown = [target for target in rest if "=" not in target and not target.startswith("-") and target not in known]
            assert not unknown, f"no make target {unknown}"
        case "benchmarks/full_scale.sh":
            check_full_scale(rest)
        case other:
            assert other in OTHER_PROGRAMS, f"unknown program {other!r}"


def check_full_scale(words: Sequence[str]) -> None:
    """Check a call of `benchmarks/full_scale.sh`: the device, and the steps that the script lists."""
    script = (ROOT / "benchmarks" / "full_scale.sh").read_text()
    steps = set(re.findall(r"^step_(\w+)\(\)", script, re.MULTILINE))
    assert words[:1] in (["cpu"], ["gpu"]), f"no device {words[:1]}"
    assert steps.issuperset(words[1:]), f"no steps {set(words[1:]) - steps}"


def check_launch(words: Sequence[str]) -> None:
    """Check `accelerate launch …` by accelerate's own parser, and the module it starts."""
    from accelerate.commands.launch import launch_command_parser

    assert words[0] == "launch"
    parsed = launch_command_parser().parse_args(words[1:])
    assert parsed.module, "the script is started as a module: -m finetune.sft"
    assert parsed.config_file is None or (ROOT / parsed.config_file).is_file(), f"no file {parsed.config_file}"
    check_module(parsed.training_script, parsed.training_script_args)


def check_module(module: str, arguments: Sequence[str]) -> None:
    """Check that a module exists, that it knows every flag, and that its `--config` file exists."""
    assert importlib.util.find_spec(module), f"no module {module}"
    if module.partition(".")[0] not in PACKAGES:
        return
    flags = [word[2:].partition("=")[0].replace("-", "_") for word in arguments if word.startswith("--")]
    unknown = set(flags) - list_flags(module)
    assert not unknown, f"{module} knows no flag {', '.join(sorted(unknown))}"
    for flag, value in itertools.pairwise(arguments):
        if flag == "--config":
            assert (ROOT / value).is_file(), f"no file {value}"


@functools.cache
def list_flags(module: str) -> frozenset[str]:
    """Return the flags that an entry's `--help` shows, with underscores; for training TRL's too."""
    shown = io.StringIO()
    with contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        importlib.import_module(module).run(["--help"])
    flags = {flag.replace("-", "_") for flag in re.findall(r"^ +--([\w-]+)", shown.getvalue(), re.MULTILINE)}
    if module in ("finetune.sft", "finetune.grpo"):
        from trl import GRPOConfig, ModelConfig, SFTConfig

        trainer = SFTConfig if module == "finetune.sft" else GRPOConfig
        flags |= {field.name for kind in (trainer, ModelConfig) for field in dataclasses.fields(kind)}
    return frozenset(flags | {"config", "help"})
