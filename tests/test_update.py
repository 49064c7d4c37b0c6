"""icdtune update: what it teaches and rehearses, what it refuses, and that a real checkpoint learns the new release by it."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import yaml
from command_lines import check_command

from data_gen import generate, update
from icd10cm import CodeSet
from icd10cm.releases import compare
from icd10cm.run_header import build_header, write_json

SLICE = ["G35", "G36", "D70", "D71", "E78", "K60.3", "Z91.01"]
SPLITS = ("train", "validation", "test")
FILES = (*(f"{split}.parquet" for split in SPLITS), "dataset_card.md", "sft.yaml")


@pytest.fixture(scope="module")
def files(shared_data: Path) -> dict[str, Path]:
    folder = shared_data / "icd10cm"
    return {year: folder / f"icd10cm_codes_{year}.txt.gz" for year in ("2024", "2025", "2026")} | {
        "2021": folder / "icd10cm_order_2021.txt.gz"
    }


@pytest.fixture(scope="module")
def old(files: dict[str, Path]) -> CodeSet:
    return CodeSet.load(files["2025"])


def write_checkpoint(folder: Path, release: str | None, **facts: Any) -> Path:
    """Write what `update` reads of a checkpoint."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    settings = {"learning_rate": 4e-4, "use_cpu": True, "max_length": 200, "dtype": None, "per_device_train_batch_size": 6}
    settings |= facts.pop("settings", {})
    write_json(folder / "run.json", build_header("finetune.sft", settings, release=release, **({"finished": True} | facts)))
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("model") / "old", "2025")


@pytest.fixture(scope="module")
def folder(files: dict[str, Path], model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An update of the slice from 2025 to the embedded release."""
    target = tmp_path_factory.mktemp("update") / "update"
    assert call(files["2025"], model, target) == 0
    return target


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[dict[str, Any]]:
    return read_rows(folder)


def call(source: Path, model: Path, target: Path, *more: str, prefixes: Sequence[str] = SLICE) -> int:
    sliced = ["--prefixes", *prefixes] if prefixes and "--prefixes" not in more else []
    return update.run(["--from", str(source), "--model", str(model), "--output-dir", str(target), *sliced, *more])


def read_rows(folder: Path) -> list[dict[str, Any]]:
    return [row for split in SPLITS for row in pq.read_table(folder / f"{split}.parquet").to_pylist()]


def hash_files(folder: Path) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in FILES}


def list_codes(rows: list[dict[str, Any]]) -> set[str]:
    return {code for row in rows for code in row["codes"]}


def test_every_added_code_is_taught_and_no_retired_code_is_an_answer(
    rows: list[dict[str, Any]], old: CodeSet, codes: CodeSet
) -> None:
    added = {code for code in codes.codes if code.startswith(tuple(SLICE)) and not old.is_billable(code)}
    assert len(added) == 20 and added <= list_codes([row for row in rows if row["split"] == "train"])
    assert all(codes.is_billable(code) and code.startswith(tuple(SLICE)) for code in list_codes(rows))
    assert {row["release"] for row in rows} == {"2026"}
    retired = {code for code in old.codes if not codes.is_billable(code)}
    assert {"G35", "D71", "E78.01"} <= retired and not retired & list_codes(rows)


def test_rehearsal_is_as_large_as_asked_and_half_of_it_neighbours(
    files: dict[str, Path], model: Path, tmp_path: Path, old: CodeSet
) -> None:
    assert call(files["2025"], model, tmp_path / "u", "--rehearsal", "1.5", "--multiple", "{}") == 0
    found = list_codes(read_rows(tmp_path / "u"))
    added = {code for code in found if not old.is_billable(code)}
    rehearsed = found - added
    near = {code for code in rehearsed if code[:3] in {other[:3] for other in added}}
    assert (len(added), len(rehearsed)) == (20, 30)
    assert len(near) == 15
    header = json.loads((tmp_path / "u" / "run.json").read_text())
    assert (header["n_taught"], header["n_rehearsed"], header["n_codes"]) == (20, 30, 50)


def test_no_rehearsal_where_none_is_wanted(files: dict[str, Path], model: Path, tmp_path: Path, old: CodeSet) -> None:
    assert call(files["2025"], model, tmp_path / "u", "--rehearsal", "0", "--multiple", "{}") == 0
    assert not any(old.is_billable(code) for code in list_codes(read_rows(tmp_path / "u")))


def test_a_taught_code_has_more_variants_than_a_rehearsed_one(rows: list[dict[str, Any]], old: CodeSet) -> None:
    variants = [row for row in rows if row["split"] == "train" and row["scenario"] in ("typo", "reordered", "abbreviated")]
    counts = Counter((row["scenario"], row["codes"][0]) for row in variants)
    taught = [n for (_, code), n in counts.items() if not old.is_billable(code)]
    rehearsed = [n for (_, code), n in counts.items() if old.is_billable(code)]
    assert set(rehearsed) == {1} and max(taught) == 3 and sum(taught) / len(taught) > 2


def test_no_text_of_a_split_is_in_another_or_stands_for_two_answers(rows: list[dict[str, Any]]) -> None:
    splits: dict[str, set[str]] = {}
    answers: dict[str, set[tuple[str, ...]]] = {}
    for row in rows:
        splits.setdefault(row["text"], set()).add(row["split"])
        answers.setdefault(re.sub(r"[\W_]+", " ", row["text"].casefold()).strip(), set()).add(tuple(row["codes"]))
    assert [text for text, found in splits.items() if len(found) > 1] == []
    assert [text for text, found in answers.items() if len(found) > 1] == []
    assert len({row["id"] for row in rows}) == len(rows)


def test_texts_of_several_conditions_are_rehearsed_too(rows: list[dict[str, Any]]) -> None:
    joined = Counter(row["split"] for row in rows if row["scenario"] == "multiple")
    assert joined == {"train": 20, "validation": 2, "test": 2}


def test_same_seed_same_bytes_another_seed_other_texts(
    files: dict[str, Path], model: Path, folder: Path, tmp_path: Path
) -> None:
    first = hash_files(folder)
    assert call(files["2025"], model, folder) == 0  # over what is there, as generate does
    assert hash_files(folder) == first
    assert call(files["2025"], model, tmp_path / "other", "--seed", "99") == 0
    assert {row["text"] for row in read_rows(tmp_path / "other")} != {row["text"] for row in read_rows(folder)}


def test_held_out_texts_are_those_of_generate_with_the_same_seed(
    files: dict[str, Path], rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    arguments = ["--code-file", str(files["2025"]), "--prefixes", *SLICE, "--output-dir", str(tmp_path / "data")]
    assert generate.run([*arguments, "--seed", "13", "--train-variants", "{typo: 8, reordered: 5}"]) == 0
    # `multiple sclerosis` is G35 in 2025 and the new G35.D in 2026, which is to be taught
    held = {(row["text"], *row["codes"]) for row in read_rows(tmp_path / "data") if row["split"] != "train"}
    trained = {(row["text"], *row["codes"]) for row in rows if row["split"] == "train"}
    assert len(held) > 100 and not held & trained


def test_folder_is_that_of_generate_with_a_stage_beside_it(folder: Path, model: Path, files: dict[str, Path]) -> None:
    assert {path.name for path in folder.iterdir()} == {*FILES, "run.json"}
    header = json.loads((folder / "run.json").read_text())
    assert (header["stage"], header["release"], header["from_release"]) == ("data_gen.update", "2026", "2025")
    assert str(files["2025"]) in header["inputs"] and str(model / "run.json") in header["inputs"]
    assert header["outputs"] == {name: digest for name, digest in hash_files(folder).items() if name.endswith("parquet")}
    card = (folder / "dataset_card.md").read_text()
    assert "## Update from release 2025 to 2026" in card and "20 added" in card and "487 codes that 2025 lacks" in card


def test_stage_is_understood_and_keeps_what_the_model_was_trained_with(folder: Path, model: Path) -> None:
    from finetune.stage_arguments import parse_arguments

    stage, sft, config = parse_arguments(["--config", str(folder / "sft.yaml")])
    assert (stage.data, stage.stage, config.model_name_or_path) == (str(folder), "update", str(model))
    assert (sft.learning_rate, sft.max_length, sft.per_device_train_batch_size) == (2e-4, 200, 6)
    assert sft.use_cpu and sft.num_train_epochs == 12 and sft.output_dir == str(folder / "model")
    written = yaml.safe_load((folder / "sft.yaml").read_text())
    assert isinstance(written["learning_rate"], float)


def test_command_it_prints_can_be_typed(
    files: dict[str, Path], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    target = tmp_path / "u"
    assert call(files["2025"], model, target, "--learning-rate", "0.001", "--epochs", "2") == 0
    (command,) = capsys.readouterr().out.splitlines()
    words = shlex.split(command)
    check_command(words)
    assert words[-1] == str(target / "sft.yaml") and "configs/accelerate/cpu.yaml" in words
    written = yaml.safe_load((target / "sft.yaml").read_text())
    assert (written["learning_rate"], written["num_train_epochs"]) == (0.001, 2.0)


def test_dry_run_counts_and_writes_nothing(
    files: dict[str, Path], model: Path, tmp_path: Path, rows: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(files["2025"], model, tmp_path / "u", "--dry-run") == 0
    text = capsys.readouterr().out
    assert "+487 -28 codes, 0 retitled; in the slice: 20 added, 0 retitled, 0 successors to teach, 39 rehearsed" in text
    n_base = sum(row["scenario"] == "base" and row["split"] == "train" for row in rows)
    assert f"| base | {n_base} |" in text and "accelerate launch" in text
    assert not list(tmp_path.iterdir())


def test_a_former_title_is_taught_with_the_code_it_belongs_to(files: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "m", "2021")
    target = tmp_path / "u"
    assert call(files["2021"], checkpoint, target, "--to", str(files["2024"]), "--multiple", "{}", prefixes=["G31", "G20"]) == 0
    former = [row for row in read_rows(target) if row["source"] == "cms:former"]
    assert {("Dementia with Lewy bodies", "G31.83"), ("Mild cognitive impairment, so stated", "G31.84")} <= {
        (row["text"], row["codes"][0]) for row in former
    }
    assert {row["split"] for row in former} == {"train"} and {row["release"] for row in former} == {"2024"}
    # G20 has five successors: which of them its title means nobody can tell
    assert not [row for row in former if row["text"].casefold() == "parkinson's disease"]


def test_a_retired_title_stands_for_its_successor_only_where_there_is_one(files: dict[str, Path], tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "m", "2026")
    backwards = ["--to", str(files["2025"]), "--multiple", "{}"]
    assert call(files["2026"], checkpoint, tmp_path / "u", *backwards, prefixes=["G35", "G36"]) == 0
    former = {(row["text"], row["codes"][0]) for row in read_rows(tmp_path / "u") if row["source"] == "cms:former"}
    assert ("Relapsing-remitting multiple sclerosis", "G35") in former


def test_seed_and_slice_are_those_of_the_models_data(files: dict[str, Path], tmp_path: Path) -> None:
    data = tmp_path / "data"
    arguments = ["--code-file", str(files["2025"]), "--output-dir", str(data), "--seed", "5", "--train-variants", "{typo: 1}"]
    assert generate.run([*arguments, "--prefixes", "G35", "G36"]) == 0
    checkpoint = write_checkpoint(tmp_path / "m", "2025", settings={"data": str(data)})
    assert call(files["2025"], checkpoint, tmp_path / "u", prefixes=[]) == 0
    settings = json.loads((tmp_path / "u" / "run.json").read_text())["settings"]
    assert (settings["seed"], settings["prefixes"]) == (5, ["G35", "G36"])
    assert {code[:3] for code in list_codes(read_rows(tmp_path / "u"))} == {"G35", "G36"}
    assert call(files["2025"], checkpoint, tmp_path / "v", "--seed", "6", prefixes=["G35"]) == 0
    settings = json.loads((tmp_path / "v" / "run.json").read_text())["settings"]
    assert (settings["seed"], settings["prefixes"]) == (6, ["G35"])


@pytest.mark.parametrize(
    ("release", "facts", "more", "named"),
    [
        ("2026", {}, [], ("was trained on release 2026, but --from is release 2025",)),
        (None, {}, [], ("was trained on release None",)),
        ("2025", {"finished": False}, [], ("was not finished",)),
        ("2025", {}, ["--prefixes", "I10", "J44"], ("no code of the slice changed from release 2025 to 2026",)),
        ("2025", {}, ["--prefixes", "G35", "X99.99"], ("'X99.99'", "release 2026")),
        ("2025", {}, ["--to-release", "2025"], ("release 2025 is not the embedded one, which is 2026",)),
        ("2026", {}, ["--from-release", "2026"], ("both code files are of release 2026",)),
        ("2025", {}, ["--from-release", "unknown"], ("--from-release",)),
        ("2025", {}, ["--rehersal", "2"], ("did you mean 'rehearsal'?",)),
        ("2025", {}, ["--rehearsal", "-1"], ("'rehearsal'", "-1")),
        ("2025", {}, ["--to", "none.txt"], ("'to': file 'none.txt' does not exist",)),
        ("2025", {}, ["--output-dir", "README.md"], ("README.md", "is a file")),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(
    release: str | None,
    facts: dict[str, Any],
    more: list[str],
    named: tuple[str, ...],
    files: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    checkpoint = write_checkpoint(tmp_path / "m", release, **facts)
    assert call(files["2025"], checkpoint, tmp_path / "u", *more) == 2
    written = capsys.readouterr()
    assert written.out == "" and written.err.count("\n") == 1, written.err
    assert all(part in written.err for part in named), written.err
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize(
    ("removed", "named"), [("run.json", "run.json: cannot be read"), ("config.json", "not a checkpoint folder")]
)
def test_a_model_without_its_files_is_named(
    removed: str, named: str, files: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = write_checkpoint(tmp_path / "m", "2025")
    (checkpoint / removed).unlink()
    assert call(files["2025"], checkpoint, tmp_path / "u") == 2
    assert named in capsys.readouterr().err


STAGE = """\
use_cpu: true
bf16: false
dtype: float32
gradient_checkpointing: false
attn_implementation: eager
learning_rate: 2.0e-3
adam_beta2: 0.98
lr_scheduler_type: cosine
warmup_steps: 0.1
num_train_epochs: 16
per_device_train_batch_size: 16
max_length: 160
save_strategy: "no"
eval_strategy: "no"
report_to: none
seed: 3
"""


def answer_titles(checkpoint: Path, wanted: Sequence[str], codes: CodeSet) -> dict[str, str]:
    """Return the checkpoint's unconstrained greedy answer to the title of each code."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from data_gen.examples import Example
    from finetune.validation import answer_examples

    network, tokenizer = AutoModelForCausalLM.from_pretrained(checkpoint), AutoTokenizer.from_pretrained(checkpoint)
    asked = [Example(code, "base", codes.title(code), (code,), "test", "cms", codes.release) for code in wanted]
    return dict(zip(wanted, answer_examples(network, tokenizer, asked, 128), strict=True))


@pytest.fixture
def one_thread() -> Iterator[None]:
    """On a busy machine two threads wait for each other, and one gives the same weights each time."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@pytest.mark.usefixtures("one_thread")
def test_a_checkpoint_learns_the_new_release_and_keeps_the_old(
    files: dict[str, Path], old: CodeSet, codes: CodeSet, tmp_path: Path
) -> None:
    from finetune import sft

    few = ["--train-variants", "{typo: 1, reordered: 1}"]
    data = ["--code-file", str(files["2025"]), "--prefixes", *SLICE, "--output-dir", str(tmp_path / "data"), *few]
    assert generate.run(data) == 0
    size = "vocab_size: 500\nhidden_size: 128\nintermediate_size: 384\nnum_hidden_layers: 2\nnum_attention_heads: 4\n"
    (tmp_path / "tiny.yaml").write_text(size)
    paths = f"data: {tmp_path / 'data'}\noutput_dir: {tmp_path / 'model'}\nfrom_scratch: {tmp_path / 'tiny.yaml'}\n"
    (tmp_path / "stage.yaml").write_text(paths + STAGE)
    assert sft.run(["--config", str(tmp_path / "stage.yaml")]) == 0

    changes = compare(old, codes)
    sliced = [code for code in codes.codes if code.startswith(tuple(SLICE))]
    added = [code for code in sliced if code in changes.added]
    kept = [code for code in sliced if code not in changes.added]
    assert (len(added), len(kept)) == (20, 39)
    before = answer_titles(tmp_path / "model", sliced, codes)
    assert sum(before[code] == code for code in kept) >= 37
    assert not any(before[code] == code for code in added)
    assert set(before.values()) & set(changes.deleted), "the old checkpoint answers with codes that are retired now"

    target = tmp_path / "update"
    more = ["--epochs", "10", "--train-variants", "{typo: 2, reordered: 2}"]
    assert call(files["2025"], tmp_path / "model", target, *more, prefixes=[]) == 0
    unsaved = ["--eval_strategy", "no", "--save_strategy", "no"]
    assert sft.run(["--config", str(target / "sft.yaml"), *unsaved]) == 0
    after = answer_titles(target / "model", sliced, codes)
    right = sum(after[code] == code for code in added), sum(after[code] == code for code in kept)
    print(f"exact match before: added 0 of 20, kept {sum(before[code] == code for code in kept)} of 39; after: {right}")
    assert right[0] >= 17 and right[1] >= 37
    assert not set(after.values()) & set(changes.deleted)
    header = json.loads((target / "model" / "run.json").read_text())
    assert (header["release"], header["settings"]["stage"]) == ("2026", "update")
