"""Parts written by several jobs and joined are the data set of one job; a wrong or missing part is named."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import yaml

from data_gen.generate import run

PLAN = {
    "prefixes": ["E11", "O14", "S52.0"],
    "train_variants": {"reordered": 2, "abbreviated": 2, "typo": 2, "paraphrased": 2},
    "held_out_codes": 0.1,
    "multiple": {"train": 30, "validation": 5, "test": 5},
    "note": {"train": 3, "test": 2},
}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("config") / "data.yaml"
    path.write_text(yaml.safe_dump(PLAN))
    return path


@pytest.fixture(scope="module")
def parts(config: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder beside which four parts lie, written in any order by one or two processes."""
    folder = tmp_path_factory.mktemp("parts") / "data"
    for number, workers in ((3, 1), (1, 2), (4, 1), (2, 2)):
        shard = f"--shard={number}/4"
        assert run(["--config", str(config), "--output-dir", str(folder), shard, f"--workers={workers}"]) == 0
    assert not folder.exists()
    return folder


def hash_folder(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.name != "run.json"}


def test_four_parts_joined_are_the_data_set_of_one_job(config: Path, parts: Path, tmp_path: Path) -> None:
    assert run(["--config", str(config), "--output-dir", str(parts), "--join"]) == 0
    assert run(["--config", str(config), "--output-dir", str(tmp_path / "one")]) == 0
    joined = hash_folder(parts)
    assert joined == hash_folder(tmp_path / "one") and len(joined) == 4


def test_a_part_that_is_there_is_not_written_again(config: Path, parts: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = parts.with_name("data_shards") / "2-of-4.parquet"
    before = path.stat().st_mtime_ns
    assert run(["--config", str(config), "--output-dir", str(parts), "--shard", "2/4"]) == 0
    assert "already written" in capsys.readouterr().err and path.stat().st_mtime_ns == before


def refuse(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert run(arguments) == 2
    said = capsys.readouterr().err.strip()
    assert len(said.splitlines()) == 1
    return said


def test_parts_that_do_not_belong_together_are_named(
    config: Path, parts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "data"
    join = ["--config", str(config), "--output-dir", str(target), "--join"]
    assert "has no part" in refuse(join, capsys)
    copies = tmp_path / "data_shards"
    copies.mkdir()
    for path in parts.with_name("data_shards").iterdir():
        (copies / path.name).write_bytes(path.read_bytes())
    assert "1-of-4.parquet: was made with other settings" in refuse([*join, "--seed", "14"], capsys)
    (copies / "3-of-4.parquet").rename(copies / "3-of-5.parquet")
    assert "has parts of 4 and of 5" in refuse(join, capsys)
    (copies / "3-of-5.parquet").unlink()
    assert "lacks 3/4" in refuse(join, capsys)
    (copies / "3-of-4.parquet").write_bytes(b"PAR1 torn")
    assert "3-of-4.parquet: not a readable part" in refuse(join, capsys)
    assert not target.exists() and {path.name for path in tmp_path.iterdir()} == {"data_shards"}


@pytest.mark.parametrize(("arguments", "said"), [
    (["--shard", "5/4"], "'5/4' is no part such as 1/4"),
    (["--shard", "0/4"], "'0/4' is no part"),
    (["--shard", "two"], "'two' is no part"),
    (["--shard", "1/2", "--join"], "give one of the two"),
])  # fmt: skip
def test_bad_shards_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert said in refuse(arguments, capsys)
