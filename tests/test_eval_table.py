"""python -m eval.table: Markdown of several scores files, by kind of text and by breakdown."""

from __future__ import annotations

from pathlib import Path

import pytest
from eval_cases import predict, write_run

from eval import score, table


@pytest.fixture
def scores(tmp_path: Path) -> list[str]:
    """Scores of two engines: one right on both texts, the other on the second."""
    found = []
    for label, first in (("stage 2", "I10"), ("floor", "J18.9")):
        rows = [predict("I10", first, id="a"), predict("J18.9", "J18.9", id="b", scenario="base")]
        lacking = {"a": "code", "b": "variant"}
        path = write_run(tmp_path / label, [row._replace(attributes=(("held_out", lacking[row.id]),)) for row in rows])
        assert score.run([str(path), "--n-boot", "100"]) == 0
        found.append(str(path.with_name("scores.json")))
    return found


def test_a_column_each_and_a_row_for_every_group(scores: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert table.run(scores) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "| text (exact match) | n | stage 2 | floor |",
        "| :-- | --: | --: | --: |",
        "| base | 1 | **100.0** (2.5–100.0) | **100.0** (2.5–100.0) |",
    ]
    assert (
        lines[3].startswith("| typo | 1 | **100.0** (") and "| 0.0 (" in lines[3] and lines[4].startswith("| all texts | 2 |")
    )
    for by, part in (
        ("held_out", "| code | 1 | 100.0 (2.5–100.0) | 0.0 (0.0–97.5) |"),
        ("scenario_held_out", "| typo, code | 1 | 100.0 (2.5–100.0) | 0.0 (0.0–97.5) |"),
        ("chapter", "| 9 Diseases of the circulatory system | 1 |"),
    ):
        assert table.run([*scores, "--by", by]) == 0
        assert part in capsys.readouterr().out
    output = tmp_path / "table.md"
    assert table.run([*scores, "--metric", "invalid_rate", "--output", str(output)]) == 0
    assert output.read_text().startswith("| text (invalid")


def test_an_unknown_breakdown_or_rate_is_named_with_the_nearest(scores: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    for words, near in ((["--by", "chapters"], "'chapter'"), (["--metric", "exact_macth"], "'exact_match'")):
        capsys.readouterr()
        assert table.run([*scores, *words]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert f"did you mean {near}?" in line
