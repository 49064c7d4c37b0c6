"""Configuration: a YAML file and flags over it; every mistake named at once, in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field, FilePath, PositiveInt

from icd10cm.config import Settings, build_parser, load_settings
from icd10cm.errors import ConfigError


class Sampling(Settings):
    temperature: float = Field(0.0, description="0 is greedy")
    top_p: float = Field(1.0, description="share of the probability kept")


class Run(Settings):
    n_boot: PositiveInt = Field(500, description="draws; 95 % intervals")
    learning_rate: float = Field(1e-3, description="of the optimiser")
    data: FilePath | None = Field(None, description="what to read")
    text: str = Field("", description="a phrase")
    release: str | None = Field(None, description="of the code set")
    engine: Literal["auto", "on"] = Field("auto", description="who answers")
    scenarios: list[str] = Field(default_factory=list, description="which")
    sampling: Sampling = Field(Sampling(), description="how to draw")
    repeats: dict[str, int] = Field(default_factory=dict, description="times each is seen")
    dry_run: bool = Field(False, description="only say what would happen")
    keep_all: bool = Field(True, description="keep everything")
    folder: Path = Field(Path("outputs"), description="where to write")


def load(*argv: str) -> Run:
    return load_settings(Run, argv, doc="Try it.", prog="try", positional="text")


def refuse(*argv: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*argv)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def write_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A function that writes YAML to `run.yaml` in the current folder and returns its name."""
    monkeypatch.chdir(tmp_path)

    def write(content: str | bytes) -> str:
        Path("run.yaml").write_bytes(content.encode() if isinstance(content, str) else content)
        return "run.yaml"

    return write


def test_file_defaults_and_overrides(write_config) -> None:
    config = write_config("n_boot: 5\nsampling: {temperature: 0.5}\nscenarios: [base, typo]\n")
    read = load("--config", config, "--n-boot", "7")
    assert (read.n_boot, read.sampling, read.scenarios, read.engine) == (7, Sampling(temperature=0.5), ["base", "typo"], "auto")
    assert load(f"--config={config}") == load("--config", config)


def test_three_mistakes_are_named_in_one_line(write_config) -> None:
    config = write_config("n_bot: 5\nlearning_rate: quick\ndata: none.parquet\n")
    message = refuse("--config", config)
    assert message.startswith("run.yaml: 3 problems: ")
    assert "unknown key 'n_bot', did you mean 'n_boot'?" in message
    assert "'learning_rate' should be a valid number" in message and "'quick'" in message
    assert "'data': file 'none.parquet' does not exist" in message


def test_mistakes_in_file_and_flags_are_named_together(write_config) -> None:
    message = refuse("--config", write_config("n_bot: 5\n"), "--learning-rate", "quick", "--engin", "auto")
    assert message.startswith("run.yaml: 3 problems: ")
    assert "'n_bot', did you mean 'n_boot'?" in message and "'engin', did you mean 'engine'?" in message


@pytest.mark.parametrize("flag", [["--n-boot", "7"], ["--n_boot", "7"], ["--n-boot=7"], ["--n_boot=7"]])
def test_dashes_and_underscores_in_flags(flag: list[str]) -> None:
    assert load(*flag).n_boot == 7


@pytest.mark.parametrize("flag", ["--learning-rat", "--learning_rat", "--learning_rat=1"])
def test_unknown_flag_is_named_with_the_nearest(flag: str) -> None:
    assert refuse(flag) == "command line: unknown key 'learning_rat', did you mean 'learning_rate'?"


def test_abbreviated_flag_is_not_guessed() -> None:
    assert "unknown key 'learn'" in refuse("--learn", "1")


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--n-boot"], "command line: argument --n-boot/--n_boot: expected one argument; --help lists every setting"),
        (["--sampling.top_p"], "command line: argument --sampling.top_p: expected one argument; --help lists every setting"),
        (["--sampling.top_p", "{}"], "command line: 'sampling.top_p' should be a valid number, not {}"),
        (["--sampling.topp", "1"], "command line: unknown key 'sampling.topp', did you mean 'top_p'?"),
        (["a", "b"], "command line: unexpected argument 'b'; settings are given as --key value"),
        (["--n-boot", "0"], "command line: 'n_boot' should be greater than 0, not 0"),
        (["--engine", "none"], "command line: 'engine' should be 'auto' or 'on', not 'none'"),
        (["--config", "none.yaml"], "none.yaml: cannot be read (No such file or directory); check the path after --config"),
    ],
)
def test_wrong_flags_are_one_line(argv: list[str], message: str) -> None:
    assert refuse(*argv) == message


@pytest.mark.parametrize("number", ["1e-5", "1.0e-5", "'1e-5'", "0.00001"])
def test_small_floats_however_written(write_config, number: str) -> None:
    assert load("--config", write_config(f"learning_rate: {number}\n")).learning_rate == 1e-5
    assert load("--learning-rate", number.strip("'")).learning_rate == 1e-5


@pytest.mark.parametrize("text", ["pain: left knee", "no", "2026", "- cough", "[x", "fever # 2 days", "-1", "1e5", "{a: 1}"])
def test_text_on_the_command_line_stays_as_it_is(text: str) -> None:
    assert load("--text", text).text == text
    assert load(f"--text={text}").text == text
    if not text.startswith("-"):
        assert load(text).text == text
    assert load("--release", text).release == text


@pytest.mark.parametrize("flag", ["--dry-run", "--dry_run", "--dry-run=true"])
def test_a_boolean_flag_does_not_swallow_the_text_behind_it(flag: str) -> None:
    assert load(flag, "chest pain") == load("chest pain", flag) == Run(text="chest pain", dry_run=True)


@pytest.mark.parametrize(
    "argv",
    [["base", "typo"], ["--scenarios", "base", "typo"], ["base", "typo", "--n-boot", "5"], ["--n-boot=5", "base", "typo"]],
)
def test_a_positional_list_takes_every_argument(argv: list[str]) -> None:
    assert load_settings(Run, argv, doc="", positional="scenarios").scenarios == ["base", "typo"]
    assert load_settings(Run, ["--dry-run"], doc="", positional="scenarios").scenarios == []


def test_null_takes_a_value_back(write_config) -> None:
    assert load("--config", write_config("release: '2025'\n"), "--release", "null").release is None


def test_choice_that_yaml_reads_as_a_boolean() -> None:
    assert load("--engine", "on").engine == "on"


@pytest.mark.parametrize(
    ("argv", "dry_run", "keep_all"),
    [
        (["--dry-run"], True, True),
        (["--dry_run"], True, True),
        (["--dry-run", "true", "--keep-all", "no"], True, False),
        (["--keep-all", "false", "--dry-run"], True, False),
        (["--keep-all=False"], False, False),
        (["--dry-run", "--keep-all"], True, True),
    ],
)
def test_boolean_flags(argv: list[str], dry_run: bool, keep_all: bool) -> None:
    assert (load(*argv).dry_run, load(*argv).keep_all) == (dry_run, keep_all)


def test_lists_and_mappings_in_flags() -> None:
    assert load("--scenarios", "base", "typo").scenarios == ["base", "typo"]
    assert load("--scenarios", "base", "--scenarios", "typo").scenarios == ["base", "typo"]
    assert load("--repeats", "{base: 3}").repeats == {"base": 3}


def test_nested_settings(write_config) -> None:
    assert load("--sampling", "{temperature: 0.7}").sampling.temperature == 0.7
    config = write_config("sampling: {temprature: 1, top_p: high}\nrepeats: {base: often}\n")
    message = refuse("--config", config)
    assert "unknown key 'sampling.temprature', did you mean 'temperature'?" in message
    assert "'sampling.top_p' should be a valid number" in message and "'repeats.base' should be a valid integer" in message
    assert "'sampling' should be a valid dictionary" in refuse("--config", write_config("sampling: 5\n"))


def test_nested_override_replaces_the_whole_value(write_config) -> None:
    config = write_config("sampling: {top_p: 0.5}\n")
    assert load("--config", config, "--sampling", "{temperature: 0.7}").sampling == Sampling(temperature=0.7)


def test_override_of_a_part_leaves_the_others(write_config) -> None:
    config = write_config("sampling: {top_p: 0.5}\nrepeats: {base: 3, typo: 2}\n")
    loaded = load("--config", config, "--sampling.temperature", "0.7", "--repeats.typo=4")
    assert loaded.sampling == Sampling(temperature=0.7, top_p=0.5) and loaded.repeats == {"base": 3, "typo": 4}
    assert load("--sampling.top-p", "0.5").sampling.top_p == 0.5
    assert refuse("--none.top_p", "1").startswith("command line: unknown key 'none.top_p'; known: ")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("n_boot: [1\n", "run.yaml, line 2: not valid YAML: "),
        ("n_boot: 1: 2\n", "run.yaml, line 1: not valid YAML: "),
        ("n_boot: 1\n\tengine: auto\n", "run.yaml, line 2: not valid YAML: "),
        ("n_boot: 1\nengine: auto\nn_boot: 2\n", "run.yaml, line 3: not valid YAML: key 'n_boot' is given twice"),
        ("sampling:\n  top_p: 1\n  top_p: 2\n", "run.yaml, line 3: not valid YAML: key 'top_p' is given twice"),
        ("- n_boot: 1\n", "run.yaml: holds no settings"),
        ("n_boot\n", "run.yaml: holds no settings"),
        ("", "run.yaml: holds no settings"),
        (b"\xff\xfe\x00", "run.yaml: not valid YAML: "),
        (b"\x00\x01", "run.yaml: not valid YAML: "),
        ("1: 2\n2: 3\n", "run.yaml: 2 problems: unknown key '1'"),
        ("n-boot: 3\n", "run.yaml: unknown key 'n-boot', did you mean 'n_boot'?"),
        ("n_boot: null\n", "run.yaml: 'n_boot' should be a valid integer, not None"),
        ("data: 5\n", "run.yaml: 'data': Input is not a valid path"),
    ],
)
def test_broken_file_is_refused_in_one_line(write_config, content: str | bytes, message: str) -> None:
    assert refuse("--config", write_config(content)).startswith(message)


def test_config_that_is_a_folder(tmp_path: Path) -> None:
    assert refuse("--config", str(tmp_path)) == f"{tmp_path}: cannot be read (Is a directory); check the path after --config"


def test_settings_are_frozen() -> None:
    with pytest.raises(ValueError, match="frozen"):
        load().n_boot = 3


def test_a_rule_between_settings_is_said_plainly() -> None:
    from pydantic import model_validator

    class Ordered(Settings):
        low: int = 0
        high: int = 1

        @model_validator(mode="after")
        def _check_order(self) -> Any:
            if self.low > self.high:
                raise ValueError("low is above high")
            return self

    with pytest.raises(ConfigError, match=r"^command line: low is above high$"):
        load_settings(Ordered, ["--low", "2"], doc="")


def test_help_shows_every_setting_with_its_default() -> None:
    text = build_parser(Run, "Try it.", "try", "text").format_help()
    for name, field in Run.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text and field.description.split(";")[0] in " ".join(text.split())
    assert "(default: 500)" in text and "Undefined" not in text
