"""`icdtune` and what every entry does around its work: exit status, one-line errors, a calm stop."""

from __future__ import annotations

import errno
import subprocess
import sys

import pytest

from icd10cm import errors
from icd10cm.cli import COMMANDS, main
from icd10cm.entry import run_entry


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["--help"], ["-h"], ["help"]):
        assert main(argv) == 0
        text = capsys.readouterr().out
        assert all(f"  {name} " in text and description in text for name, (_, description) in COMMANDS.items())


def test_no_command_is_an_error_with_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: icdtune COMMAND" in capsys.readouterr().out


def test_unknown_command_is_named_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["genrate"]) == 2
    assert capsys.readouterr() == ("", "icdtune: error: no command 'genrate', did you mean 'generate'?\n")
    assert main(["x"]) == 2
    assert f"known: {', '.join(sorted(COMMANDS))}" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_unknown_setting_is_one_line_and_exit_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--no-such-setting", "1"]) == 2
    written = capsys.readouterr()
    assert written.out == "" and written.err.startswith("icdtune: error: ") and written.err.count("\n") == 1
    assert "unknown key 'no_such_setting'" in written.err


@pytest.mark.parametrize("command", COMMANDS)
def test_missing_config_is_one_line_and_exit_2(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--config", "none.yaml"]) == 2
    assert capsys.readouterr().err == (
        "icdtune: error: none.yaml: cannot be read (No such file or directory); check the path after --config\n"
    )


def test_as_a_program() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "import icd10cm.cli; raise SystemExit(icd10cm.cli.main())", "scor"],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "icdtune: error: no command 'scor', did you mean 'score'?\n"


def run_raising(error: BaseException) -> int:
    """Run an entry whose work raises `error`."""

    def work(argv: object) -> None:
        raise error

    return run_entry(work, [])


def test_exit_status_is_that_of_the_work() -> None:
    assert run_entry(lambda argv: None, []) == 0
    assert run_entry(lambda argv: 3, []) == 3


ERRORS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.ICDTuneError)]


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_is_one_line_and_exit_2(kind: type[errors.ICDTuneError], capsys: pytest.CaptureFixture[str]) -> None:
    assert run_raising(kind("a.yaml: wrong;\n  write it right")) == 2
    assert capsys.readouterr() == ("", "icdtune: error: a.yaml: wrong; write it right\n")


@pytest.mark.parametrize("kind", [kind for kind in ERRORS if kind is not errors.ICDTuneError])
def test_every_error_is_also_one_of_the_standard_library(kind: type[Exception]) -> None:
    assert issubclass(kind, (ValueError, KeyError, RuntimeError))


def test_ctrl_c_is_calm(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_raising(KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "icdtune: stopped: what was done is kept; run the same command again to go on\n"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST])
def test_a_folder_that_cannot_be_written_is_one_line(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_raising(OSError(number, "it cannot be written", "outputs/x")) == 2
    assert capsys.readouterr().err.startswith("icdtune: error: outputs/x: it cannot be written; make room or choose another")


@pytest.mark.parametrize("error", [ValueError("bug"), FileNotFoundError(errno.ENOENT, "bug"), SystemExit(4)])
def test_a_bug_stays_visible(error: BaseException) -> None:
    with pytest.raises(type(error)):
        run_raising(error)


def test_a_reader_that_leaves_early_is_no_error() -> None:
    program = (
        "from icd10cm.entry import run_entry\nraise SystemExit(run_entry(lambda argv: any(print(n) for n in range(10**6))))"
    )
    writer = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert writer.stdout is not None and writer.stdout.readline() == "0\n"
    writer.stdout.close()
    assert writer.wait(timeout=60) == 0 and writer.stderr is not None and writer.stderr.read() == ""
