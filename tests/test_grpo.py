"""Reinforcement: the reward, the policy kept to codes, and a real run that earns more than the checkpoint it began with."""

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
import torch
from hypothesis import given
from hypothesis import strategies as st

from data_gen.examples import Example, write_examples
from finetune.code_policy import CodePolicy
from finetune.reward import RewardWeights, reward_answer
from icd10cm import CodeSet
from icd10cm.errors import ConfigError, DataError

ROOT = Path(__file__).parent.parent
PLAIN = RewardWeights()


@pytest.mark.parametrize(
    ("answer", "wanted", "expected"),
    [
        ("I10", ["I10"], 1.0),
        ("I10, E11.9", ["E11.9", "I10"], 1.0),  # order earns nothing unless it is given a weight
        ("I10", ["E11.9", "I10"], 2 / 3),
        ("I10, E11.9, J18.9", ["E11.9", "I10"], 4 / 5),
        ("E11.8", ["E11.9"], 0.3),
        ("E11.8, E11.65", ["E11.9"], 2 * 0.3 / 3),  # one missed code, so part credit once
        ("J18.9", ["E11.9"], 0.0),
        ("", ["E11.9"], 0.0),
        ("high blood pressure", ["I10"], 0.0),
        ("I10, I10", ["I10"], 1.0 - 0.5 / 2),
        ("I10, E11", ["I10"], 2 / 3 - 0.5 / 2),
        ("E11", ["I10"], -0.5),
    ],
)
def test_reward(codes: CodeSet, answer: str, wanted: list[str], expected: float) -> None:
    assert reward_answer(answer, wanted, codes, PLAIN) == pytest.approx(expected)


def test_principal_first_earns_only_what_it_is_given(codes: CodeSet) -> None:
    weights = RewardWeights(principal=0.25)
    assert reward_answer("E11.9, I10", ["E11.9", "I10"], codes, weights) == 1.25
    assert reward_answer("I10, E11.9", ["E11.9", "I10"], codes, weights) == 1.0


FEW = ["E11.9", "E11.8", "E11.65", "I10", "I50.9", "J18.9", "E11", "Z99.XX"]


@given(st.lists(st.sampled_from(FEW), max_size=6), st.lists(st.sampled_from(FEW[:6]), min_size=1, max_size=4, unique=True))
def test_nothing_earns_as_much_as_the_right_codes(written: list[str], wanted: list[str]) -> None:
    found = reward_answer(", ".join(written), wanted, CodeSet.load(), PLAIN)
    assert -1.0 <= found <= 1.0
    assert (found == 1.0) == (sorted(written) == sorted(wanted))
    for extra in ("E11", "Z99.XX", *written[-1:]):  # an invalid or a repeated code never pays
        assert reward_answer(", ".join([*written, extra]), wanted, CodeSet.load(), PLAIN) <= max(found, 0.0) or extra in wanted


def test_policy_sums_to_one_over_what_it_may_sample(byte_level_tokenizer: Any) -> None:
    tokenizer = byte_level_tokenizer
    eos = tokenizer.eos_token_id
    policy = CodePolicy(["I10", "I11.0", "I11.9"], tokenizer, [eos], limit=8)
    torch.manual_seed(0)
    logits = torch.randn(1, 8, len(tokenizer))
    sampled = tokenizer("I11.0", add_special_tokens=False)["input_ids"] + [eos]
    ids = torch.tensor([sampled + [tokenizer.pad_token_id] * (8 - len(sampled))])
    written = torch.tensor([[1] * len(sampled) + [0] * (8 - len(sampled))])
    logprobs, entropy, leaks = policy.score(logits, ids, written)
    prompt = torch.zeros(1, 3, dtype=torch.long)
    mask = policy.build_processor(1, 3)
    for place in range(len(sampled)):
        masked = mask(torch.cat([prompt, ids[:, :place]], dim=1), logits[:, place])
        expected = masked.log_softmax(dim=-1)[0]
        assert logprobs[0, place].item() == pytest.approx(expected[ids[0, place]].item(), abs=1e-5)
        inside = expected[expected.isfinite()]
        mass = logits[0, place].softmax(dim=-1)[expected.isfinite()].sum()
        assert leaks[0, place].item() == pytest.approx(-mass.log().item(), abs=1e-5)
        assert entropy[0, place].item() == pytest.approx(-(inside.exp() * inside).sum().item(), abs=1e-5)
    assert not any(values[0, len(sampled) :].any() for values in (logprobs, entropy, leaks))


def write_data(folder: Path, pairs: slice) -> None:
    """Write some 24 codes with their titles, and `pairs` of them to learn; validation asks 80 pairs of its own."""
    codes = CodeSet.load()
    chosen = [c for c in codes.codes if c.startswith(("E11.6", "I10", "J44", "N18", "K21"))][:24]
    drawn = random.Random(5).sample([(a, b) for a in chosen for b in chosen if a != b], 520)
    for split, part in (("train", drawn[80:][pairs]), ("validation", drawn[:80])):
        rows = [Example(f"{split}-{c}", "base", codes.title(c), (c,), split, "cms", "2026") for c in chosen]
        rows += [
            Example(f"{split}-{i}", "multiple", f"{codes.title(a)}; {codes.title(b)}", (a, b), split, "cms", "2026")
            for i, (a, b) in enumerate(part)
        ]
        write_examples(folder / f"{split}.parquet", rows)


COMMON = (
    "use_cpu: true\nbf16: false\ngradient_checkpointing: false\nattn_implementation: eager\n"
    "per_device_eval_batch_size: 64\nreport_to: none\nlogging_steps: 5\nseed: 3\n"
)


@pytest.fixture(scope="module")
def stopped_early(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint that knows titles but not all pairs, other pairs to be rewarded for, and `grpo.yaml`."""
    from finetune.sft import run

    folder = tmp_path_factory.mktemp("reinforce")
    write_data(folder / "seen", slice(100))
    write_data(folder / "new", slice(100, None))
    size = "vocab_size: 600\nhidden_size: 128\nintermediate_size: 256\nnum_hidden_layers: 2\nnum_attention_heads: 4\n"
    (folder / "tiny.yaml").write_text(size)
    (folder / "sft.yaml").write_text(
        f"data: {folder / 'seen'}\noutput_dir: {folder / 'sft'}\nfrom_scratch: {folder / 'tiny.yaml'}\n{COMMON}"
        "learning_rate: 3.0e-3\nwarmup_steps: 10\nlr_scheduler_type: linear\nmax_steps: 75\n"
        "per_device_train_batch_size: 32\nmax_length: 200\nsave_strategy: 'no'\neval_strategy: 'no'\nrepeats: {base: 6}\n"
    )
    (folder / "grpo.yaml").write_text(
        f"data: {folder / 'new'}\noutput_dir: {folder / 'grpo'}\nmodel_name_or_path: {folder / 'sft'}\n{COMMON}"
        "learning_rate: 3.0e-4\nlr_scheduler_type: linear\nmax_steps: 40\nper_device_train_batch_size: 96\n"
        "num_generations: 8\nmax_completion_length: 24\nsave_strategy: steps\nsave_steps: 20\neval_strategy: steps\n"
        "eval_steps: 20\nrepeats: {base: 6}\n"
    )
    assert run(["--config", str(folder / "sft.yaml")]) == 0
    return folder


@pytest.mark.slow
def test_rewards_raise_what_they_reward_and_cost_no_titles(stopped_early: Path) -> None:
    from finetune.grpo import run

    assert run(["--config", str(stopped_early / "grpo.yaml")]) == 0
    header = json.loads((stopped_early / "grpo" / "run.json").read_text())
    evaluated = [entry for entry in header["history"] if "eval_reward" in entry]
    before, after = evaluated[0], evaluated[-1]
    print(*(json.dumps({key: round(entry[key], 3) for key in entry if "eval_" in key}) for entry in evaluated), sep="\n")
    assert (before["step"], after["step"], header["finished"], header["stage"]) == (0, 40, True, "finetune.grpo")
    assert before["eval_exact_match_multiple"] < 0.85
    assert after["eval_reward_multiple"] > before["eval_reward_multiple"] + 0.02
    assert after["eval_exact_match_multiple"] > before["eval_exact_match_multiple"]
    assert after["eval_exact_match_base"] >= before["eval_exact_match_base"]
    assert (stopped_early / "grpo" / "training.png").read_bytes().startswith(b"\x89PNG")
    assert "mean reward of greedy answers" in (stopped_early / "grpo" / "README.md").read_text()


@pytest.mark.slow
def test_killed_run_goes_on_and_ends_with_the_same_weights(stopped_early: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    from finetune.grpo import run
    from finetune.previous_run import find_last_checkpoint

    short = ["--config", str(stopped_early / "grpo.yaml"), "--max_steps", "6", "--save_steps", "2", "--eval_strategy", "no"]
    short += ["--per_device_train_batch_size", "16"]
    assert run([*short, "--output_dir", str(tmp_path / "whole")]) == 0
    cut = tmp_path / "cut"
    command = [sys.executable, "-m", "finetune.grpo", *short, "--output_dir", str(cut)]
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while find_last_checkpoint(cut) is None and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert find_last_checkpoint(cut) is not None and not (cut / "model.safetensors").exists()
    assert run([*short, "--output_dir", str(cut)]) == 0
    expected, got = (load_file(folder / "model.safetensors") for folder in (tmp_path / "whole", cut))
    assert all((expected[name] == got[name]).all() for name in expected)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    write_data(tmp_path / "data", slice(10))
    (tmp_path / "model").mkdir()
    path = tmp_path / "grpo.yaml"
    path.write_text(
        f"data: {tmp_path / 'data'}\noutput_dir: {tmp_path / 'x'}\nmodel_name_or_path: {tmp_path / 'model'}\n{COMMON}"
    )
    return path


@pytest.mark.parametrize(
    ("override", "part"),
    [
        (["--stage", "enhanced"], "'stage' should be one of reinforce"),
        (["--reward", "{categry: 0.5}"], "'categry', did you mean 'category'?"),
        (["--reward", "{invalid: -1}"], "'invalid'"),
        (["--use_vllm"], "set constrained false for vLLM"),
        (["--num_generation", "4"], "did you mean 'num_generations'?"),
    ],
)
def test_mistakes_are_named(config: Path, override: list[str], part: str) -> None:
    from finetune.grpo import parse_arguments

    with pytest.raises(ConfigError) as error:
        parse_arguments(["--config", str(config), *override])
    assert part in str(error.value) and "\n" not in str(error.value)


def test_codes_that_no_answer_can_hold_are_refused(config: Path, codes: CodeSet) -> None:
    from finetune.grpo import check_codes
    from finetune.stage_data import load_stage_data

    folder = config.parent / "data"
    data = load_stage_data(folder, None, {}, 10)
    check_codes(data, codes, folder)
    odd = data._replace(train=[*data.train, data.train[0]._replace(id="odd", codes=("E11",))])
    with pytest.raises(DataError, match=r"example odd .E11. has a code that release 2026 lacks"):
        check_codes(odd, codes, folder)
