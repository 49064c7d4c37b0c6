"""eval.predict: rankings, long texts, several servers, what stands in the header, and what is refused at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from chat_server import start_chat

from data_gen.examples import Example, write_examples
from eval import predict
from eval.predicting.selecting import select_examples
from eval.predictions import read_predictions
from icd10cm import CodeSet
from icd10cm.run_header import build_header, write_json

ROOT = Path(__file__).parent.parent


@pytest.fixture
def data(codes: CodeSet, tmp_path: Path) -> Path:
    """24 titles and a note of several of them."""
    picked = codes.codes[:: len(codes) // 24][:24]
    examples = [
        Example(f"e{i}", "base", codes.title(code), (code,), "test", "cms", codes.release) for i, code in enumerate(picked)
    ]
    note = "\n".join(f"Complains of this: {codes.title(code)}." for code in picked[:8])
    whole = Example("note", "note", note, tuple(picked[:8]), "test", "own", codes.release, "", "p1", (("sex", "F"),))
    write_examples(tmp_path / "data.jsonl", [*examples, whole])
    return tmp_path / "data.jsonl"


def run(data: Path, output: Path, *words: object) -> int:
    return predict.run(["--data", str(data), "--output", str(output), *map(str, words)])


def read_run(output: Path) -> dict[str, Any]:
    return json.loads(output.with_name("run.json").read_text())


@pytest.mark.parametrize("way", ["sampling", "beam"])
def test_a_ranking_changes_no_answer_and_survives_a_kill(data: Path, random_checkpoint: Path, tmp_path: Path, way: str) -> None:
    words = ("--model", random_checkpoint, "--max-tokens", 20, "--limit", 6, "--scenarios", "base")
    plain, ranked = tmp_path / "plain" / "p.jsonl", tmp_path / "ranked" / "p.jsonl"
    assert run(data, plain, *words) == 0
    words = (*words, "--ranking", way, "--n-samples", 4, "--n-ranked", 5)
    assert run(data, ranked, *words) == 0
    for before, after in zip(read_predictions(plain), read_predictions(ranked), strict=True):
        assert after._replace(ranking=()) == before
        found = [scored.code for scored in after.ranking]
        assert {scored.code for scored in after.predicted} <= set(found) and len(set(found)) == len(found)
        assert [s.score for s in after.ranking] == sorted((s.score or 0 for s in after.ranking), reverse=True)
    header = read_run(ranked)
    assert (header["score_source"], header["ranking_source"]) == ("logprob", way)
    assert read_run(plain)["ranking_source"] is None
    right = ranked.read_bytes()
    ranked.write_bytes(right[: len(right) // 2])
    assert run(data, ranked, *words) == 0
    assert ranked.read_bytes() == right


def test_sampling_frequency_as_score(data: Path, random_checkpoint: Path, tmp_path: Path) -> None:
    output = tmp_path / "out" / "p.jsonl"
    words = ("--ranking", "sampling", "--n-samples", 4, "--score", "sampling", "--limit", 4, "--max-tokens", 20)
    assert run(data, output, "--model", random_checkpoint, *words, "--scenarios", "base") == 0
    for prediction in read_predictions(output):
        ranking = dict(prediction.ranking)
        assert all(scored.score == ranking[scored.code] for scored in prediction.predicted)
        assert set(ranking.values()) <= {0, 0.25, 0.5, 0.75, 1}
    assert read_run(output)["score_source"] == "sampling"


def test_a_sample_is_drawn_from_the_whole_and_the_same_for_the_same_seed() -> None:
    kinds = {"typo": 4000, "base": 5}
    rows = [Example(f"{s}{i}", s, "x", ("I10",), "test", "own", "2026") for s, n in kinds.items() for i in range(n)]
    places = {row.id: place for place, row in enumerate(rows)}

    def draw(size: int, seed: int = 0) -> list[str]:
        chosen = [row.id for row in select_examples(rows, [], 0, Path("data"), size, seed)]
        assert chosen == sorted(chosen, key=places.__getitem__), "in the order of the data"
        return chosen

    small, large = draw(400), draw(800)
    assert Counter(name[:4] for name in small) == {"typo": 400, "base": 5} and len(large) == 805
    assert set(small) < set(large) and draw(400) == small != draw(400, seed=1)
    fewer = select_examples(rows, [], 0, Path("data"), 400, 0, {"base": 2})
    assert Counter(row.scenario for row in fewer) == {"typo": 400, "base": 2}
    quarters = Counter(places[name] // 1000 for name in small if name.startswith("typo"))
    assert min(quarters[quarter] for quarter in range(4)) >= 70, "codes of every part of the book"


@pytest.mark.parametrize("engine", ["floor", "search"])
def test_floors_rank_and_read_notes_by_phrase(data: Path, tmp_path: Path, engine: str) -> None:
    output = tmp_path / "out" / "p.jsonl"
    words = ("--engine", engine, "--floor-codes", "data", "--ranking", "sampling", "--n-ranked", 3)
    assert run(data, output, *words) == 0
    *titles, note = read_predictions(output)
    assert all(p.predicted[0].code == p.ranking[0].code == p.codes[0] for p in titles)
    if engine == "floor":
        assert all(len(p.ranking) == 3 for p in titles)
    found = [scored.code for scored in note.predicted]
    assert len(set(found) & set(note.codes)) >= 7 and len(found) <= 10
    assert (note.patient, note.attributes) == ("p1", (("sex", "F"),)) and note.n_characters > 300
    header = read_run(output)
    source = {"floor": "cosine", "search": "search"}[engine]
    assert header["score_source"] == header["ranking_source"] == source
    assert run(data, tmp_path / "strict" / "p.jsonl", *words, "--floor-threshold", 1) == 0
    assert len(read_predictions(tmp_path / "strict" / "p.jsonl")[-1].predicted) < len(found)


def test_a_floor_chooses_from_the_codes_of_another_file(codes: CodeSet, data: Path, tmp_path: Path) -> None:
    other = [Example(code, "base", codes.title(code), (code,), "train", "cms", codes.release) for code in ("I10", "E11.9")]
    write_examples(tmp_path / "train.parquet", other)
    output = tmp_path / "out" / "p.jsonl"
    assert run(data, output, "--engine", "floor", "--floor-codes", tmp_path / "train.parquet", "--scenarios", "base") == 0
    assert {scored.code for p in read_predictions(output) for scored in p.predicted} == {"I10", "E11.9"}
    assert str(tmp_path / "train.parquet") in read_run(output)["inputs"]


@pytest.mark.parametrize("way", ["chunks", "truncate"])
def test_long_texts_are_cut_and_answers_merged(data: Path, random_checkpoint: Path, tmp_path: Path, way: str) -> None:
    output = tmp_path / "out" / "p.jsonl"
    words = ("--model", random_checkpoint, "--max-tokens", 20, "--max-text-tokens", 80, "--overlap-tokens", 10)
    assert run(data, tmp_path / "whole" / "p.jsonl", *words) == 0
    assert run(data, output, *words, "--long-text", way) == 0
    whole, cut = read_predictions(tmp_path / "whole" / "p.jsonl"), read_predictions(output)
    assert cut[:-1] == whole[:-1], "short texts are answered as before"
    assert whole[-1].status == "error" and cut[-1].status in ("ok", "truncated")
    known = read_run(output)["long_text"]
    assert known["way"] == way and known["n_cut"] == 1 and known["tokens"] == str(random_checkpoint)
    if way == "chunks":
        assert known["n_chunks"] == len(cut) - 1 + known["most_chunks"]
        assert cut[-1].output.count("\n") == known["most_chunks"] - 1 > 2
    assert read_run(tmp_path / "whole" / "p.jsonl")["long_text"] == {"way": "whole"}


def test_some_scenarios_are_answered_condition_by_condition(data: Path, random_checkpoint: Path, tmp_path: Path) -> None:
    words = ("--model", random_checkpoint, "--max-tokens", 20)
    plain, parted = tmp_path / "plain" / "p.jsonl", tmp_path / "parted" / "p.jsonl"
    assert run(data, plain, *words, "--scenarios", "base") == 0
    assert run(data, parted, *words, "--by-condition", "note") == 0
    *single, note = read_predictions(parted)
    assert single == read_predictions(plain), "the others are read whole"
    assert note.output.count("\n") == 7 and len(note.predicted) > 1
    known = read_run(parted)["long_text"]
    assert known["way"] == "whole" and known["by_condition"]["n_conditions"] == 8
    assert known["by_condition"]["scenarios"] == ["note"]


@pytest.mark.parametrize("floor", ["floor", "search"])
def test_a_floor_splits_only_what_models_split(floor: str, tmp_path: Path) -> None:
    text, output = "bladder cancer; trigone; gout", tmp_path / "out" / "p.jsonl"
    rows = [Example(name, name, text, ("C67.0",), "test", "own", "2026") for name in ("reordered", "multiple")]
    write_examples(tmp_path / "data.parquet", rows)
    numbers = {}
    for words in ([], ["--by-condition", "multiple"]):
        assert run(tmp_path / "data.parquet", output, "--engine", floor, "--overwrite", *words) == 0
        numbers[bool(words)] = [len(one.predicted) for one in read_predictions(output)]
    assert numbers == {False: [3, 3], True: [1, 3]}


def test_several_servers_answer_parts_too_and_a_list_stands_in_a_config(data: Path, tmp_path: Path) -> None:
    with start_chat() as first, start_chat() as second:
        first.release = second.release = "2026"
        config = tmp_path / "config.yaml"
        lines = [f"base_url: [{first.url}, {second.url}]", "concurrency: 2", "long_text: chunks", "max_text_tokens: 60"]
        config.write_text("\n".join([*lines, "overlap_tokens: 5"]))
        output = tmp_path / "out" / "p.jsonl"
        assert run(data, output, "--config", config) == 0
        assert len(first.asked) > 8 and len(second.asked) > 8
        predictions, header = read_predictions(output), read_run(output)
        assert [p.id for p in predictions] == [*(f"e{i}" for i in range(24)), "note"]
        assert predictions[0].output == predictions[0].output.upper() and predictions[-1].output.count("\n") > 3
        assert header["model"] == "coder" and header["model_release"] == "2026"
        assert header["long_text"]["tokens"] == "estimate"
        again = tmp_path / "flags" / "p.jsonl"
        words = ("--long-text", "chunks", "--max-text-tokens", 60, "--overlap-tokens", 5)
        assert run(data, again, "--base-url", first.url, second.url, *words) == 0
        assert again.read_bytes() == output.read_bytes()


def test_kill_9_with_a_server_loses_and_repeats_nothing(data: Path, tmp_path: Path) -> None:
    with start_chat() as server:
        words = ["--base-url", server.url, "--ranking", "sampling", "--n-samples", "3", "--concurrency", "2"]
        whole, killed = tmp_path / "whole" / "p.jsonl", tmp_path / "killed" / "p.jsonl"
        assert run(data, whole, *words) == 0
        server.asked.clear()
        server.delay = 0.1
        command = [sys.executable, "-m", "eval.predict", "--data", str(data), "--output", str(killed), *words]
        with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}) as process:
            deadline = time.monotonic() + 60
            while (not killed.exists() or killed.read_bytes().count(b"\n") < 4) and time.monotonic() < deadline:
                time.sleep(0.02)
            os.kill(process.pid, signal.SIGKILL)
        n_kept = killed.read_bytes().count(b"\n")
        assert 4 <= n_kept < 24
        server.delay = 0.0
        assert run(data, killed, *words) == 0
        assert killed.read_bytes() == whole.read_bytes()
        assert len(server.asked) <= 2 * 25 + 2 * 2, "only what was under way is asked twice"


def test_restricted_data_is_marked_and_not_shown(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output, words = tmp_path / "out" / "p.jsonl", ("--engine", "floor", "--floor-codes", "data")
    assert run(data, output, *words) == 0
    assert read_run(output)["restricted"] is False and read_run(output)["corpus"] is None
    facts = {"restricted": True, "corpus": "mimic_iv", "n": 3}
    write_json(data.with_name("run.json"), build_header("eval.corpora.prepare", {}, release="2026", **facts))
    assert run(data, output, *words) == 0
    header = read_run(output)
    assert header["restricted"] is True and header["corpus"] == "mimic_iv"
    assert header["data_header"] == {"restricted": True, "corpus": "mimic_iv", "release": "2026"}
    capsys.readouterr()
    assert run(data, tmp_path / "other" / "p.jsonl", *words, "--dry-run") == 0
    assert "not shown" in (printed := capsys.readouterr().out) and "cholera" not in printed.lower()
    assert run(data, data.with_name("p.jsonl"), *words) == 2
    assert "belongs to what eval.corpora.prepare wrote" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("--engine", "endpoint", "--base-url", "http://127.0.0.1:9/v1", "--ranking", "beam"),
            "beam needs engine transformers",
        ),
        (("--model", "MODEL", "--score", "sampling"), "score: sampling needs ranking: sampling"),
        (("--model", "MODEL", "--ranking", "sampling", "--n-samples", "1"), "n_samples"),
        (("--engine", "floor", "--long-text", "chunks"), "chunks needs max_text_tokens"),
        (("--model", "MODEL", "--long-text", "chunks"), "lower max_tokens or give max_text_tokens"),
        (("--engine", "floor", "--long-text", "chunks", "--max-text-tokens", "50"), "more than half of a chunk"),
        (("--engine", "floor", "--long-text", "chunk"), "'long_text' should be"),
        (("--engine", "floor", "--floor-threshold", "2"), "floor_threshold"),
        (("--engine", "floor", "--by-condition", "multipel"), "'by_condition': no scenario 'multipel', did you mean"),
    ],
)
def test_settings_that_do_not_go_together_are_one_line(
    data: Path, random_checkpoint: Path, tmp_path: Path, words: tuple[str, ...], message: str, capsys: Any
) -> None:
    given = [str(random_checkpoint) if word == "MODEL" else word for word in words]
    assert run(data, tmp_path / "out" / "p.jsonl", *given) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line and not (tmp_path / "out").exists()


def test_an_unknown_scenario_is_refused_at_once_and_aliases_are_not(data: Path, tmp_path: Path, capsys: Any) -> None:
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    renamed = tmp_path / "renamed.jsonl"
    renamed.write_text("".join(json.dumps(row | {"scenario": "reorder"}) + "\n" for row in rows))
    words = ("--engine", "floor", "--floor-codes", "data")
    assert run(renamed, tmp_path / "out" / "p.jsonl", *words) == 0
    assert {p.scenario for p in read_predictions(tmp_path / "out" / "p.jsonl")} == {"reordered"}
    capsys.readouterr()
    renamed.write_text("".join(json.dumps(row | {"scenario": "abreviated"}) + "\n" for row in rows))
    assert run(renamed, tmp_path / "new" / "p.jsonl", *words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "renamed.jsonl, row 1: unknown scenario 'abreviated', did you mean 'abbreviated'?" in line
    assert not (tmp_path / "new").exists()


def test_free_and_limited_answers_are_told_apart(data: Path, random_checkpoint: Path, tmp_path: Path) -> None:
    words = ("--model", random_checkpoint, "--max-tokens", 12, "--limit", 2, "--scenarios", "base")
    for free in (True, False):
        assert run(data, tmp_path / f"{free}" / "p.jsonl", *words, "--constrained", str(not free)) == 0
    free, limited = (read_run(tmp_path / name / "p.jsonl") for name in ("True", "False"))
    assert (free["constrained"], limited["constrained"]) == (False, True)
    assert free["label"] == f"{random_checkpoint} (free)" and limited["label"] == str(random_checkpoint)
