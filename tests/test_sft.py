"""Training: arguments, label mask, resume policy, and a real two-stage run through accelerate."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from stage_runs import ROOT, TINY, TITLES, launch, start

from data_gen.examples import Example, write_examples
from finetune.previous_run import find_last_checkpoint, settle_previous_run
from finetune.stage_arguments import LISTS, parse_arguments
from finetune.stage_data import load_stage_data
from icd10cm.errors import ConfigError, DataError


@pytest.fixture
def data_folder(tmp_path: Path) -> Path:
    """Four codes, each with its title and two spellings; validation asks the spelling in between."""
    folder = tmp_path / "data"
    for split in ("train", "validation"):
        rows = []
        for code, title in TITLES.items():
            texts = (title, title.upper()) if split == "train" else (title.lower(),)
            rows += [
                Example(f"{split}-{code}-{i}", "base", text, (code,), split, "cms", "2026") for i, text in enumerate(texts)
            ]
        write_examples(folder / f"{split}.parquet", rows)
    return folder


@pytest.fixture
def stage_config(tmp_path: Path, data_folder: Path) -> Path:
    (tmp_path / "tiny.yaml").write_text(TINY)
    config = tmp_path / "stage.yaml"
    config.write_text(
        f"data: {data_folder}\noutput_dir: {tmp_path / 'model'}\nfrom_scratch: {tmp_path / 'tiny.yaml'}\n"
        "use_cpu: true\nbf16: false\ngradient_checkpointing: false\nlearning_rate: 5.0e-3\nmax_steps: 40\n"
        "per_device_train_batch_size: 8\nper_device_eval_batch_size: 4\nmax_length: 128\nsave_strategy: steps\nsave_steps: 5\n"
        "save_total_limit: 2\neval_strategy: 'no'\nlogging_steps: 5\nreport_to: none\nseed: 3\n"
    )
    return config


def test_every_mistake_in_a_config_is_named_at_once(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("data: nowhere\noutput_dir: x\nlearning_rat: 1\nnum_train_epochs: many\nmodel_name_or_path: a/b\n")
    with pytest.raises(ConfigError) as error:
        parse_arguments(["--config", str(config)])
    message = str(error.value)
    assert "\n" not in message
    for part in (
        "3 problems",
        "'learning_rat', did you mean 'learning_rate'?",
        "'num_train_epochs'",
        "'nowhere' does not exist",
    ):
        assert part in message


def test_bad_config_ends_with_one_line_and_status_2(tmp_path: Path) -> None:
    config = tmp_path / "bad.yaml"
    config.write_text("data: nowhere\noutput_dir: x\nstag: initial\n")
    done = subprocess.run(
        [sys.executable, "-m", "finetune.sft", "--config", str(config)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert [line for line in done.stderr.splitlines() if "icdtune: error" in line]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("override", "part"),
    [
        (["--stage", "first"], "'stage' should be one of initial, enhanced, notes"),
        (["--lists", "apart"], "'lists' should be one of whole, conditions, both"),
        (["--on_existing", "ask"], "'on_existing' should be one of resume, delete, stop"),
        (["--scenarios", "typos"], "'scenarios' should be one of"),
        (["--model_name_or_path", "a/b"], "either 'model_name_or_path' or 'from_scratch'"),
    ],
)
def test_choices_are_checked(stage_config: Path, override: list[str], part: str) -> None:
    with pytest.raises(ConfigError, match=part.split("'")[1]) as error:
        parse_arguments(["--config", str(stage_config), *override])
    assert part in str(error.value)


def test_command_line_overrides_the_file(stage_config: Path) -> None:
    stage, sft, _ = parse_arguments(
        ["--config", str(stage_config), "--learning-rate", "1e-4", "--scenarios", "base", "typo", "--dry-run"]
    )
    assert (sft.learning_rate, stage.scenarios, stage.dry_run) == (1e-4, ["base", "typo"], True)


def test_values_may_follow_an_equals_sign_and_keep_their_hyphens(stage_config: Path) -> None:
    _, sft, _ = parse_arguments([f"--config={stage_config}", "--learning-rate=2e-4", "--output-dir=outputs/a-b"])
    assert (sft.learning_rate, sft.output_dir) == (2e-4, "outputs/a-b")


def test_repeats_and_scenarios_shape_the_training_rows(data_folder: Path) -> None:
    assert len(load_stage_data(data_folder, ["base"], {"base": 3}, 100).train) == 3 * 2 * len(TITLES)
    with pytest.raises(DataError, match="no example of scenario typo"):
        load_stage_data(data_folder, ["typo"], {}, 100)


def test_lists_are_taught_whole_by_their_conditions_or_both(tmp_path: Path) -> None:
    texts = {"1) gout 2) asthma": ("M10.9", "J45.909"), "gout; CHF": ("M10.9", "I50.9"), "gout, CHF": ("M10.9", "I50.9")}
    rows = [
        Example(f"multiple-{n}", "multiple", text, found, "train", "rules:multiple", "2026")
        for n, (text, found) in enumerate(texts.items())
    ]
    rows.append(Example("base-0", "base", "a; b", ("A00.0",), "train", "cms", "2026"))
    for split in ("train", "validation"):
        write_examples(tmp_path / f"{split}.parquet", rows)
    taught = {
        lists: [(row.id, row.text, row.codes) for row in load_stage_data(tmp_path, None, {"multiple": 2}, 9, lists).train]
        for lists in LISTS
    }
    whole = [(row.id, row.text, row.codes) for row in rows for _ in range(1 + (row.scenario == "multiple"))]
    apart = [
        ("multiple-0-1", "gout", ("M10.9",)), ("multiple-0-2", "asthma", ("J45.909",)), ("multiple-1-2", "CHF", ("I50.9",)),
    ]  # fmt: skip
    assert taught["whole"] == whole and taught["both"] == whole + apart
    assert taught["conditions"] == [*whole[4:], *apart]


@pytest.fixture
def tokenizer(data_folder: Path) -> Any:
    from finetune.tiny import train_tokenizer

    return train_tokenizer([example.text for example in load_stage_data(data_folder, None, {}, 100).train], 400, 128)


def test_an_example_that_is_too_long_is_counted_and_follows_the_policy(data_folder: Path, tokenizer: Any) -> None:
    from finetune.row_lengths import count_tokens, fit_rows

    data = load_stage_data(data_folder, None, {}, 100)
    assert fit_rows(data, tokenizer, None, "error")[2] == 0
    long = data.train[-1]._replace(text=" and ".join([data.train[-1].text] * 40))
    rows = [*data.train[:-1], long]
    data = data._replace(train=rows)
    most = 60
    with pytest.raises(
        DataError, match=f"1 of 8 examples are longer than max_length {most} tokens .the longest, example {long.id}"
    ):
        fit_rows(data, tokenizer, most, "error")
    kept, tokens, n_over = fit_rows(data, tokenizer, most, "drop")
    assert (list(kept), len(tokens), n_over) == (rows[:-1], 7, 1)
    kept, tokens, n_over = fit_rows(data, tokenizer, most, "truncate")
    assert n_over == 1 and max(count_tokens(tokens)) in (most - 1, most)
    assert long.text.startswith(kept[-1].text) and len(kept[-1].text) > 40
    learned = tokenizer.decode([label for label in tokens[7]["labels"] if label != -100])
    assert learned == f"{long.codes[0]}{tokenizer.eos_token}"
    with pytest.raises(DataError, match="its codes alone are longer than max_length 5"):
        fit_rows(data, tokenizer, 5, "truncate")


def test_labels_are_those_of_trl(data_folder: Path, tokenizer: Any) -> None:
    from datasets import Dataset
    from trl import SFTConfig, SFTTrainer

    from finetune.label_mask import render_label_mask
    from finetune.tiny import TinyLlama, build_model
    from finetune.tokens import load_tokens
    from icd10cm.prompts import build_completion, build_prompt

    examples = load_stage_data(data_folder, None, {}, 100).train
    size = TinyLlama(vocab_size=400, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=1)
    args = SFTConfig(output_dir=str(data_folder / "x"), use_cpu=True, bf16=False, report_to="none", max_length=128)
    plain = Dataset.from_list(
        [{"prompt": build_prompt(example.text), "completion": build_completion(example.codes)} for example in examples]
    )
    trainer = SFTTrainer(model=build_model(size, tokenizer), args=args, train_dataset=plain, processing_class=tokenizer)
    for theirs, ours, example in zip(trainer.train_dataset, load_tokens(examples, tokenizer), examples, strict=True):
        assert (theirs["input_ids"], theirs["labels"]) == (ours["input_ids"], ours["labels"])
        learned = tokenizer.decode([label for label in ours["labels"] if label != -100])
        assert learned == ", ".join(example.codes) + tokenizer.eos_token
    assert "[I][1][0][<|end|>]" in render_label_mask(next(e for e in examples if e.codes == ("I10",)), tokenizer)


def test_many_rows_are_kept_by_what_they_were_made_from(
    data_folder: Path, tokenizer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from finetune.tokens import load_tokens

    monkeypatch.setenv("ICDTUNE_CACHE", str(tmp_path / "cache"))
    examples = load_stage_data(data_folder, None, {}, 100).train
    plain = load_tokens(examples, tokenizer).to_list()
    assert not (tmp_path / "cache").exists()
    monkeypatch.setattr("finetune.tokens._FEWEST_KEPT", 2)
    assert load_tokens(examples, tokenizer).to_list() == plain
    monkeypatch.setattr("finetune.tokens.tokenize", None)
    assert load_tokens(examples, tokenizer).to_list() == plain
    with pytest.raises(TypeError):
        load_tokens(examples[1:], tokenizer)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_instruction_is_in_the_template_of_a_hub_model_once() -> None:
    from jinja2 import Environment

    from icd10cm.prompts import INSTRUCTION, bake_instruction, build_prompt

    template = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}{{ date_string }}"
    rendered = Environment().from_string(bake_instruction(template)).render(messages=build_prompt("HTN"))
    assert rendered == f"<system>{INSTRUCTION}<user>HTN26 Jul 2024"


def test_last_checkpoint_is_the_last_that_was_written_to_its_end(tmp_path: Path) -> None:
    for step, state in (("5", '{"global_step": 5}'), ("10", '{"global_st'), ("15", None)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if state is not None:
            (folder / "trainer_state.json").write_text(state)
    assert find_last_checkpoint(tmp_path) == tmp_path / "checkpoint-5"


def test_a_changed_config_is_named_and_not_mixed(tmp_path: Path) -> None:
    header = {"schema_version": 1, "settings": {"learning_rate": 0.1, "seed": 3}, "inputs": {"a": "1"}, "finished": True}
    (tmp_path / "run.json").write_text(json.dumps(header))
    assert settle_previous_run(tmp_path, "resume", header["settings"], header["inputs"]).finished
    with pytest.raises(ConfigError, match=r"learning_rate was 0\.1, is 0\.2"):
        settle_previous_run(tmp_path, "resume", {"learning_rate": 0.2, "seed": 3}, {"a": "1"})
    with pytest.raises(ConfigError, match="holds a run already"):
        settle_previous_run(tmp_path, "stop", header["settings"], header["inputs"])
    settle_previous_run(tmp_path, "delete", {}, {})
    assert not tmp_path.exists()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    assert settle_previous_run(tmp_path, "resume", {}, {}, "finetune.sft") == (None, False)
    (tmp_path / "thesis.docx").touch()
    for policy in ("resume", "delete"):
        with pytest.raises(ConfigError, match=r"holds something else already \(thesis.docx\)"):
            settle_previous_run(tmp_path, policy, {}, {}, "finetune.sft")
    (tmp_path / "run.json").write_text('{"schema_version": 1, "stage": "data_gen.generate", "settings": {}, "inputs": {}}')
    with pytest.raises(ConfigError, match=r"holds what data_gen\.generate wrote"):
        settle_previous_run(tmp_path, "delete", {}, {}, "finetune.sft")
    assert (tmp_path / "thesis.docx").exists()


def test_a_tokenizer_of_another_model_is_refused(tokenizer: Any) -> None:
    from finetune.starting_point import check_vocabulary
    from finetune.tiny import TinyLlama, build_model
    from icd10cm.errors import CheckpointError

    model = build_model(TinyLlama(hidden_size=32, num_hidden_layers=1, num_attention_heads=1), tokenizer)
    check_vocabulary(model, tokenizer, "model")
    tokenizer.add_tokens(["xyzzy"])
    with pytest.raises(CheckpointError, match=f"its tokenizer has {len(tokenizer)} tokens, the model {len(tokenizer) - 1}"):
        check_vocabulary(model, tokenizer, "model")


@pytest.mark.slow
def test_a_full_disk_costs_nothing_but_the_last_checkpoint(stage_config: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    if subprocess.run([*mount, "size=3m", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        command = [sys.executable, "-m", "finetune.sft", "--config", str(stage_config), "--output_dir", str(disk / "model")]
        command += ["--save_total_limit", "9"]
        full = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert full.returncode == 2 and "Traceback" not in full.stderr, full.stderr
        (line,) = [line for line in full.stderr.splitlines() if "icdtune: error" in line]
        assert "No space left on device" in line
        last = find_last_checkpoint(disk / "model")
        assert last is not None
        subprocess.run([*mount, "remount,size=64m", str(disk)], check=True)
        again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert again.returncode == 0 and f"going on from {last}" in again.stderr, again.stderr
        assert json.loads((disk / "model" / "run.json").read_text())["finished"]
    finally:
        subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.slow
def test_training_killed_three_times_ends_with_the_same_weights(stage_config: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    words = ["--config", str(stage_config), "--muon", "true", "--train_sampling_strategy", "batch_rebalance"]
    # enough steps that a fast machine does not come to the end in the moment before the last kill
    words += ["--per_device_train_batch_size", "4", "--gradient_accumulation_steps", "2", "--max_steps", "120"]
    seeded = random.Random(5)
    cut = tmp_path / "cut"
    whole = start(*words, "--output_dir", str(tmp_path / "whole"))
    for after in (15, 55, 85):
        process = start(*words, "--output_dir", str(cut))
        deadline = time.monotonic() + 120
        while not (cut / f"checkpoint-{after}").exists() and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        # a little later it is one of those that were thrown away
        assert (cut / f"checkpoint-{after}").exists(), "stopped before it was killed"
        time.sleep(seeded.uniform(0, 0.2))
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not (cut / "model.safetensors").exists(), "killed too late to prove anything"
    again = launch(*words, "--output_dir", str(cut))
    assert again.returncode == 0, again.stderr
    assert "going on from" in again.stderr
    assert whole.wait(300) == 0, whole.communicate()[1]
    expected, got = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", cut))
    assert expected.keys() == got.keys()
    assert all((expected[name] == got[name]).all() for name in expected)
    finished = launch(*words, "--output_dir", str(cut))
    assert "already trained" in finished.stderr


@pytest.mark.slow
def test_checkpoint_loads_in_plain_transformers_and_has_learned(stage_config: Path, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    done = launch("--config", str(stage_config), "--eval_strategy", "steps", "--eval_steps", "40", "--max_steps", "120")
    assert done.returncode == 0, done.stderr
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "model")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    for code, title in TITLES.items():
        inputs = tokenizer.apply_chat_template(
            [{"role": "user", "content": title}], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        written = model.generate(**inputs, max_new_tokens=16, do_sample=False)
        assert tokenizer.decode(written[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True) == code
    header = json.loads((tmp_path / "model" / "run.json").read_text())
    assert (header["finished"], header["release"], header["steps"]) == (True, "2026", 120)
    assert "exact match" in (tmp_path / "model" / "README.md").read_text()
    assert (tmp_path / "model" / "training.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_training_stops_early_and_saves_the_best(stage_config: Path, tmp_path: Path) -> None:
    done = launch(
        "--config", str(stage_config), "--eval_strategy", "steps", "--eval_steps", "10", "--save_steps", "10",
        "--max_steps", "300", "--early_stopping_patience", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    header = json.loads((tmp_path / "model" / "run.json").read_text())
    found = [entry["eval_exact_match"] for entry in header["history"] if "eval_exact_match" in entry]
    assert header["steps"] < 300 and header["best_metric"] == max(found) == found[-3]
    assert header["best_step"] == header["steps"] - 20


def test_curves_for_a_service_that_is_not_installed_are_refused(stage_config: Path) -> None:
    with pytest.raises(ConfigError, match=r"'report_to': trakio is not installed"):
        parse_arguments(["--config", str(stage_config), "--report_to", "trakio"])


def test_early_stopping_without_evaluations_is_refused(stage_config: Path) -> None:
    with pytest.raises(ConfigError, match="needs evaluations"):
        parse_arguments(["--config", str(stage_config), "--early_stopping_patience", "2"])
    with pytest.raises(ConfigError, match="save_steps should be those of eval"):
        parse_arguments(
            ["--config", str(stage_config), "--early_stopping_patience", "2", "--eval_strategy", "steps", "--eval_steps", "4"]
        )


@pytest.mark.slow
def test_two_processes_under_deepspeed_zero2_train_and_save(stage_config: Path, tmp_path: Path) -> None:
    done = launch(
        "--config", str(stage_config), "--max_steps", "10", "--eval_strategy", "steps", "--eval_steps", "5", config="zero2_2cpu"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    header = json.loads((tmp_path / "model" / "run.json").read_text())
    assert (header["finished"], header["n_processes"]) == (True, 2)
    assert (tmp_path / "model" / "model.safetensors").is_file()
