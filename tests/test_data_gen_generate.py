"""The generator through its command line: same bytes, honest splits, one meaning per text, nothing half-written.

The checks read the files and compare texts in their own way; none calls the generator's checks.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from data_gen.build import build_examples
from data_gen.generate import Settings, open_folder
from data_gen.variations import VARIATIONS
from icd10cm import CodeSet
from icd10cm.config import check_settings, read_yaml

ROOT = Path(__file__).parent.parent
SMALL = "configs/data/small.yaml"
SMALL_VARIATIONS = ("reordered", "abbreviated", "typo", "paraphrased")
SPLITS = ("train", "validation", "test")
FILES = ("train.parquet", "validation.parquet", "test.parquet", "dataset_card.md")


def call_generate(*arguments: str | Path, hash_seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "data_gen.generate", *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        timeout=120,
    )


def hash_files(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def read_rows(folder: Path) -> list[dict]:
    return [row for split in SPLITS for row in pq.read_table(folder / f"{split}.parquet").to_pylist()]


def squash(text: str) -> str:
    """Return letters and digits in lower case, one space between runs of them."""
    return re.sub(r"[\W_]+", " ", text.casefold()).strip()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data set of `configs/data/small.yaml`."""
    folder = tmp_path_factory.mktemp("small") / "data"
    done = call_generate("--config", SMALL, "--output-dir", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict]:
    return read_rows(folder)


def test_same_config_gives_the_same_bytes_whatever_the_hash_seed(folder: Path, tmp_path: Path) -> None:
    done = call_generate("--config", SMALL, "--output-dir", tmp_path / "again", hash_seed="12345")
    assert done.returncode == 0, done.stderr
    assert hash_files(tmp_path / "again") == hash_files(folder)


def test_another_seed_gives_other_texts(folder: Path, tmp_path: Path) -> None:
    call_generate("--config", SMALL, "--output-dir", tmp_path / "other", "--seed", "8")
    assert {row["text"] for row in read_rows(tmp_path / "other")} != {row["text"] for row in read_rows(folder)}


def test_texts_of_a_code_do_not_depend_on_the_slice(rows: list[dict], tmp_path: Path) -> None:
    call_generate("--config", SMALL, "--output-dir", tmp_path / "slice", "--prefixes", "J44", "N17")
    joined = ("multiple", "note")
    part = {row["id"]: row for row in read_rows(tmp_path / "slice") if row["scenario"] not in joined}
    whole = {row["id"]: row for row in rows if row["scenario"] not in joined and row["codes"][0][:3] in ("J44", "N17")}
    assert part == whole and len(part) > 50


def test_rows_have_the_columns_ids_and_codes_of_the_contract(rows: list[dict], codes: CodeSet) -> None:
    assert list(rows[0]) == [
        "id",
        "scenario",
        "text",
        "codes",
        "split",
        "source",
        "release",
        "held_out",
        "patient",
        "attributes",
    ]
    assert len({row["id"] for row in rows}) == len(rows)
    billable = set(codes.codes)
    for row in rows:
        assert row["codes"] and set(row["codes"]) <= billable and row["release"] == codes.release
        assert row["source"] == "cms" or row["source"].startswith("rules:")
        assert row["text"].strip() == row["text"] != ""
        assert not any(re.search(rf"\b{re.escape(code)}\b", row["text"]) for code in row["codes"]), (
            "a text must not hold its code"
        )


def test_no_test_or_validation_text_is_in_another_split(rows: list[dict]) -> None:
    seen: dict[str, set[str]] = defaultdict(set)
    exact: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        exact[row["text"]].add(row["split"])
        if row["scenario"] != "base":
            seen[squash(row["text"])].add(row["split"])
    assert [text for text, splits in exact.items() if len(splits) > 1] == []
    assert [text for text, splits in seen.items() if len(splits) > 1] == []


def test_held_out_texts_differ_from_train_by_more_than_small_words(rows: list[dict]) -> None:
    small = r"\b(?:secondary to|due to|of|with|in|to|for|on|by|from|and|the|a|an|causing|associated|involving|induced|after)\b"
    content: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        if row["scenario"] in VARIATIONS:
            content[row["codes"][0], squash(re.sub(small, " ", squash(row["text"])))].add(row["split"])
    assert [key for key, splits in content.items() if len(splits) > 1] == []


def test_no_text_stands_for_two_codes(rows: list[dict], codes: CodeSet) -> None:
    meanings: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for code in codes.codes:
        meanings[squash(codes.title(code))].add((code,))
    for row in rows:
        meanings[squash(row["text"])].add(tuple(row["codes"]))
    assert [text for text, said in meanings.items() if len(said) > 1] == []


def test_variants_differ_from_their_title_and_from_each_other(rows: list[dict], codes: CodeSet) -> None:
    single = [row for row in rows if len(row["codes"]) == 1 and row["scenario"] != "base"]
    texts = Counter(squash(row["text"]) for row in single)
    assert [text for text, times in texts.items() if times > 1] == []
    assert [row for row in single if squash(row["text"]) == squash(codes.title(row["codes"][0]))] == []


def test_base_has_the_published_title_and_held_out_casings(rows: list[dict], codes: CodeSet) -> None:
    base = [row for row in rows if row["scenario"] == "base"]
    train = {(row["codes"][0], row["text"]) for row in base if row["split"] == "train"}
    assert {(code, codes.title(code)) for code, _ in train} <= train
    assert {(code, codes.title(code).upper()) for code, _ in train} <= train
    tested = {row["codes"][0]: row["text"] for row in base if row["split"] == "test"}
    assert tested == {code: codes.title(code).lower() for code, _ in train}


def test_held_out_variants_leave_their_code_one_in_train(rows: list[dict]) -> None:
    splits: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row["scenario"] in VARIATIONS:
            splits[row["scenario"], row["codes"][0]][row["split"]] += 1
    assert all(counts["train"] >= 1 for counts in splits.values())
    assert all(counts["test"] >= 1 for counts in splits.values() if counts.total() > 1)
    assert {scenario for scenario, _ in splits} == set(SMALL_VARIATIONS)


def test_multiple_joins_codes_of_different_categories(rows: list[dict]) -> None:
    joined = [row for row in rows if row["scenario"] == "multiple"]
    assert Counter(row["split"] for row in joined) == {"train": 60, "validation": 10, "test": 20}
    for row in joined:
        assert 2 <= len(row["codes"]) <= 3
        assert len({code[:3] for code in row["codes"]}) == len(row["codes"])


def test_members_of_multiple_are_titles_or_texts_of_their_split(rows: list[dict], codes: CodeSet) -> None:
    said = defaultdict(set)
    for row in rows:
        if row["scenario"] not in ("multiple", "note"):
            said[row["split"], row["codes"][0]].add(squash(row["text"]))
    for row in rows:
        if row["scenario"] == "multiple":
            text = squash(row["text"])
            for code in row["codes"]:
                known = said[row["split"], code] | {squash(codes.title(code))}
                assert any(member in text for member in known), (code, row["text"])


def test_card_counts_what_the_files_hold_and_says_what_base_measures(folder: Path, rows: list[dict]) -> None:
    card = (folder / "dataset_card.md").read_text(encoding="utf-8")
    counts = Counter((row["scenario"], row["split"]) for row in rows)
    for scenario in ("base", *SMALL_VARIATIONS, "multiple", "note"):
        cells = " | ".join(f"{counts[scenario, split]:,}" for split in SPLITS)
        assert f"| {scenario} | {cells} |" in card
    for name in FILES[:3]:
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() in card
    assert "not generalisation" in card and "seed 7" in card and "release 2026" in card
    assert str(ROOT) not in card and str(folder) not in card


def test_run_header_has_the_settings_and_the_files(folder: Path) -> None:
    header = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    assert header["stage"] == "data_gen.generate" and header["release"] == "2026"
    assert header["settings"]["seed"] == 7 and header["settings"]["multiple"]["train"] == 60
    assert header["outputs"] == {name: digest for name, digest in hash_files(folder).items() if name.endswith("parquet")}


def test_dry_run_prints_counts_and_rows_and_writes_nothing(tmp_path: Path) -> None:
    done = call_generate("--config", SMALL, "--output-dir", tmp_path / "none", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert not list(tmp_path.iterdir())
    for scenario in ("base", *SMALL_VARIATIONS, "multiple", "note"):
        assert f"| {scenario} |" in done.stdout and re.search(rf"^{scenario} +[A-Z]\d", done.stdout, re.M)


def test_code_file_of_another_release_is_used(shared_data: Path, tmp_path: Path) -> None:
    code_file = shared_data / "icd10cm" / "icd10cm_codes_2024.txt.gz"
    done = call_generate("--config", SMALL, "--output-dir", tmp_path / "d", "--code-file", code_file, "--prefixes", "J44")
    assert done.returncode == 0, done.stderr
    assert {row["release"] for row in read_rows(tmp_path / "d")} == {"2024"}
    assert code_file.name in json.dumps(json.loads((tmp_path / "d" / "run.json").read_text())["inputs"])


def test_three_mistakes_are_named_in_one_line(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text(f"code_file: {tmp_path}/none.txt\nseed: many\ntrain_variant: {{typo: 1}}\noutput_dir: {tmp_path}/d\n")
    done = call_generate("--config", config)
    assert done.returncode == 2 and done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and "bad.yaml" in lines[0]
    for named in ("'train_variant'", "'train_variants'", "'seed'", "none.txt"):
        assert named in lines[0]
    assert not (tmp_path / "d").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--prefixes", "E11", "X99.99", "Q0Q"], ["'X99.99'", "'Q0Q'"]),
        (["--train-variants", "{abreviated: 2}"], ["'abreviated'", "'abbreviated'"]),
        (["--train-variants", "{typo: -1}"], ["typo", "-1"]),
        (["--multiple", "{train: 5, min_conditions: 4, max_conditions: 3}"], ["min_conditions 4", "max_conditions 3"]),
        (["--multiple", "{train: 5, prior: {chapter_weights: {23: 1}}}"], ["chapter 23", "1 to 22"]),
        (["--note", "{train: 5, prior: {chapter_weights: {9: 0}}}"], ["all weights are 0"]),
        (["--index-files", "LICENSE"], ["LICENSE", "not well-formed XML"]),
        (["--tabular-file", "none.xml"], ["none.xml"]),
        (["--output-dir", "README.md"], ["README.md", "is a file"]),
        (["--output-dir", "README.md/data"], ["README.md", "is a file"]),
        (["--code-file", "README.md"], ["README.md"]),
    ],
)
def test_bad_settings_are_one_line_and_exit_2(arguments: list[str], named: list[str], tmp_path: Path) -> None:
    folder = [] if "--output-dir" in arguments else ["--output-dir", str(tmp_path / "d")]
    done = call_generate("--config", SMALL, *folder, *arguments)
    assert done.returncode == 2
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1 and all(text in lines[0] for text in named), done.stderr
    assert not list(tmp_path.iterdir())


@pytest.fixture
def slow_run(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A run over some ten thousand codes that has begun to write variants, and its folder."""
    folder = tmp_path / "data"
    command = [
        sys.executable,
        "-m",
        "data_gen.generate",
        "--config",
        SMALL,
        "--output-dir",
        str(folder),
        "--prefixes",
        "S5",
        "S6",
    ]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (tmp_path / ".data.partial").exists():
        assert process.poll() is None and time.monotonic() < deadline, "the run ended or hung before it began to write"
        time.sleep(0.02)
    time.sleep(0.5)
    yield process, folder
    process.kill()
    process.communicate()


@pytest.mark.parametrize(("number", "status"), [(signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)])
def test_killed_run_leaves_no_data_set_and_the_next_one_is_whole(
    number: int, status: int, slow_run: tuple[subprocess.Popen[str], Path], folder: Path
) -> None:
    process, target = slow_run
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == status and "Traceback" not in errors
    assert not target.exists() and (number == signal.SIGKILL or not list(target.parent.iterdir()))
    done = call_generate("--config", SMALL, "--output-dir", target)
    assert done.returncode == 0, done.stderr
    assert hash_files(target) == hash_files(folder)
    assert [path.name for path in target.parent.iterdir()] == ["data"]


def test_failed_run_leaves_the_old_data_set_as_it_was(tmp_path: Path) -> None:
    target = tmp_path / "data"
    target.mkdir()
    (target / "train.parquet").write_text("old")
    (target / "run.json").write_text("old")
    (target / "notes.txt").write_text("mine")
    with pytest.raises(KeyboardInterrupt), open_folder(target) as scratch:
        (scratch / "train.parquet").write_text("new")
        raise KeyboardInterrupt
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "train.parquet": "old",
        "run.json": "old",
        "notes.txt": "mine",
    }
    with open_folder(target) as scratch:
        (scratch / "train.parquet").write_text("new")
        (scratch / "run.json").write_text("new")
    assert {path.name: path.read_text() for path in target.iterdir()} == {
        "train.parquet": "new",
        "run.json": "new",
        "notes.txt": "mine",
    }
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_demo_slice_is_of_real_codes_with_held_out_variants(codes: CodeSet) -> None:
    settings = check_settings(Settings, read_yaml(ROOT / "configs/demo/data.yaml"), "demo")
    chosen = codes.select(settings.prefixes or ())
    assert 150 <= len(chosen) <= 260 and all(codes.is_billable(code) for code in chosen)
    built = build_examples(codes, chosen, settings)
    tested = Counter(example.scenario for example in built.examples["test"])
    assert min(tested[scenario] for scenario in ("base", "reordered", "abbreviated", "typo", "multiple")) >= 150
    for variation in ("reordered", "abbreviated", "typo"):
        assert built.missing[variation] <= 0.05 * len(chosen)
    real = {example.codes for rows in built.examples.values() for example in rows if example.source == "rules:abbreviated"}
    assert len(real) >= 0.95 * len(chosen)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "data").glob("*.yaml")), ids=lambda path: path.name)
def test_data_configs_say_what_they_do_and_parse(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert text.startswith("#") and f"--config configs/data/{path.name}" in text
    check_settings(Settings, yaml.safe_load(text), str(path))
