"""Adapters from end to end: trained, killed and resumed, answered, merged with proof, and served by vLLM."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from data_gen.examples import Example, write_examples
from finetune.greedy import Answer
from finetune.merge import Difference, check_proof, compare_answers, run
from icd10cm import CodeSet
from icd10cm.adapter_files import check_base, find_base
from icd10cm.errors import CheckpointError, ConfigError

N_TEXTS = 200


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, random_checkpoint: Path, codes: CodeSet) -> Path:
    """A LoRA adapter trained by `finetune.sft` on the random checkpoint, until its answers are its own."""
    from finetune.sft import run as train

    folder = tmp_path_factory.mktemp("lora")
    for split, n_rows in (("train", 64), ("validation", N_TEXTS)):
        chosen = codes.codes[:: len(codes.codes) // n_rows][:n_rows]
        rows = [Example(f"{split}-{c}", "base", codes.title(c), (c,), split, "cms", codes.release) for c in chosen]
        write_examples(folder / "data" / f"{split}.parquet", rows)
    base = shutil.copytree(random_checkpoint, folder / "base")
    config = folder / "lora.yaml"
    config.write_text(
        f"data: {folder / 'data'}\noutput_dir: {folder / 'adapter'}\nmodel_name_or_path: {base}\nuse_peft: true\nlora_r: 8\n"
        "lora_alpha: 32\nlora_target_modules: all-linear\nuse_cpu: true\nbf16: false\ngradient_checkpointing: false\n"
        "learning_rate: 5.0e-3\nmax_steps: 20\nper_device_train_batch_size: 16\nmax_length: 256\nsave_strategy: steps\n"
        "save_steps: 10\neval_strategy: 'no'\nlogging_steps: 10\nreport_to: none\nseed: 3\n"
    )
    assert train(["--config", str(config)]) == 0
    return folder / "adapter"


@pytest.fixture
def copied(adapter: Path, tmp_path: Path) -> Path:
    """The adapter with its base beside it, to be spoiled."""
    folder = shutil.copytree(adapter, tmp_path / "adapter")
    base = shutil.copytree(adapter.parent / "base", tmp_path / "base")
    change_json(folder / "adapter_config.json", base_model_name_or_path=str(base))
    return folder


def change_json(path: Path, **values: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def answer(model: Path, engine: str = "transformers") -> list[str]:
    from serving.engines import build_engine

    codes = CodeSet.load()
    texts = [codes.title(c) for c in codes.codes[:: len(codes.codes) // N_TEXTS][:N_TEXTS]]
    built = build_engine(engine, model=model, constrained=False, max_tokens=32, dtype="float32", progress=False)
    return [generation.text for generation in built.generate(texts)]


@pytest.mark.slow
def test_killed_run_goes_on_to_the_same_adapter(adapter: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    from finetune.sft import run as train

    cut = shutil.copytree(adapter, tmp_path / "cut")
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        (cut / name).unlink()
    shutil.rmtree(cut / "checkpoint-20")
    settings = json.loads((cut / "run.json").read_text())["settings"]
    change_json(cut / "run.json", finished=False, settings=settings | {"output_dir": str(cut)})
    assert train(["--config", str(adapter.parent / "lora.yaml"), "--output_dir", str(cut)]) == 0
    expected, found = (load_file(folder / "adapter_model.safetensors") for folder in (adapter, cut))
    assert expected.keys() == found.keys() and all((expected[name] == found[name]).all() for name in expected)
    assert any(expected[name].any() for name in expected if "lora_B" in name)


@pytest.mark.slow
def test_merged_checkpoint_answers_as_adapter_and_base(adapter: Path, capsys: pytest.CaptureFixture) -> None:
    merged = adapter.parent / "merged"
    assert run(["--adapter", str(adapter), "--output-dir", str(merged)]) == 0
    assert f"of {N_TEXTS} answers are the same" in capsys.readouterr().out
    header = json.loads((merged / "run.json").read_text())
    assert header["proof"]["n_prompts"] == N_TEXTS and header["release"] == "2026" and header["dtype"] == "float32"
    assert any(name.endswith("adapter_model.safetensors") for name in header["inputs"])
    assert str(adapter.parent / "base" / "model.safetensors") in header["inputs"]
    assert not (merged / "adapter_config.json").exists()
    before, after = answer(adapter), answer(merged)
    print(f"adapter and merged: {sum(map(str.__eq__, before, after))} of {len(before)} answers the same")
    assert before == after and before != answer(adapter.parent / "base") and len(set(before)) > 20


@pytest.mark.slow
@pytest.mark.parametrize("served", ["merged", "adapter"])
def test_vllm_answers_as_transformers(adapter: Path, served: str) -> None:
    pytest.importorskip("vllm")
    folder = adapter.parent / served
    if not folder.exists():
        assert run(["--adapter", str(adapter), "--output-dir", str(folder)]) == 0
    expected, found = answer(adapter), answer(folder, "vllm")
    differing = [pair for pair in zip(expected, found, strict=True) if pair[0] != pair[1]]
    print(
        f"transformers and vLLM ({served}): {len(expected) - len(differing)} of {len(expected)} answers the same", differing[:3]
    )
    assert len(differing) <= 2  # another order of additions can turn a tie


def test_a_merge_that_changes_answers_is_refused(copied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proof reads the folder again, so that weights lost on the way to the disk are seen."""
    import transformers

    save = transformers.LlamaForCausalLM.save_pretrained

    def save_spoiled(self: Any, *args: Any, **kwargs: Any) -> None:
        self.model.layers[0].self_attn.q_proj.weight.data.mul_(-1)
        save(self, *args, **kwargs)

    monkeypatch.setattr(transformers.LlamaForCausalLM, "save_pretrained", save_spoiled)
    merged = tmp_path / "merged"
    assert run(["--adapter", str(copied), "--output-dir", str(merged), "--n-prompts", "20"]) == 2
    assert not merged.exists() and not list(tmp_path.glob(".*"))


def remove_base(folder: Path) -> None:
    shutil.rmtree(folder.parent / "base")


def change_base(folder: Path) -> None:
    weights = folder.parent / "base" / "model.safetensors"
    header = folder / "run.json"
    change_json(header, inputs=json.loads(header.read_text())["inputs"] | {str(weights): "0" * 64})


def change_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["xyzzy"] = max(content["model"]["vocab"].values()) + 1
    path.write_text(json.dumps(content))


def lose_weights(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(b"")


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (remove_base, "is missing"),
        (change_base, "was trained on other weights"),
        (change_tokenizer, "its tokenizer is not that of its base"),
        (lose_weights, "holds no whole LoRA adapter"),
        (lambda folder: (folder / "adapter_config.json").unlink(), "give the folder of a LoRA adapter"),
    ],
)
def test_bad_adapters_end_with_one_line(
    copied: Path, tmp_path: Path, spoil: Callable[[Path], None], part: str, capsys: pytest.CaptureFixture
) -> None:
    spoil(copied)
    assert run(["--adapter", str(copied), "--output-dir", str(tmp_path / "merged")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert part in line and not (tmp_path / "merged").exists()


def test_output_folder_must_be_empty(copied: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(["--adapter", str(copied), "--output-dir", str(copied.parent / "base")]) == 2
    assert "holds something else already" in capsys.readouterr().err


def test_ties_are_told_from_mistakes() -> None:
    import numpy as np

    logprobs = np.log(np.array([[0.5, 0.4996, 0.0004], [0.1, 0.8, 0.1]]))
    before = [Answer("a", (0, 1), logprobs)] * 3
    after = [before[0], Answer("b", (1, 1), logprobs), Answer("c", (2, 1), logprobs)]
    worst, tie = compare_answers(["x", "y", "z"], before, after)
    assert (worst.text, tie.text) == ("z", "y") and tie.gap == pytest.approx(0.0008, abs=1e-5)
    check_proof([tie], 3, 1e-3)
    with pytest.raises(CheckpointError, match=r"answers 1 of 3 texts otherwise"):
        check_proof([worst, tie], 3, 1e-3)
    with pytest.raises(CheckpointError):
        check_proof([Difference("x", "I10", "I10, I11.9", float("inf"))], 3, 1e-3)


def test_adapter_is_trained_further_only_as_one(copied: Path) -> None:
    from trl import ModelConfig

    from finetune.starting_point import build_peft_config, load_model

    base = find_base(copied)
    check_base(copied, base)
    with pytest.raises(CheckpointError, match="set use_peft true"):
        load_model(ModelConfig(model_name_or_path=str(copied)))
    config = ModelConfig(model_name_or_path=str(copied), use_peft=True)
    assert build_peft_config(config) is None
    trained = [name for name, weights in load_model(config).named_parameters() if weights.requires_grad]
    assert trained and all("lora_" in name for name in trained)


def test_adapter_is_served_under_the_name_of_the_model(copied: Path) -> None:
    from serving.checkpoint import check_checkpoint
    from serving.command import ServeSettings, build_launch

    checkpoint = check_checkpoint(copied)
    base = str(copied.parent / "base")
    assert (checkpoint.base, checkpoint.rank, checkpoint.head_size) == (Path(base), 8, 32)
    command = " ".join(build_launch(ServeSettings(model=copied), checkpoint).command)
    for part in (f"--model {base}", f"--lora-modules icdtune={copied}", "--max-lora-rank 8", "--enable-lora"):
        assert part in command
    shutil.rmtree(base)
    with pytest.raises(CheckpointError, match="is missing"):
        check_checkpoint(copied)


def test_four_bits_without_the_package_for_them(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    from finetune.stage_arguments import parse_arguments

    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "bitsandbytes" else found(name, *rest))
    config = ["--config", str(adapter.parent / "lora.yaml"), "--load_in_4bit"]
    with pytest.raises(ConfigError, match="'load_in_4bit' needs the package bitsandbytes and a GPU"):
        parse_arguments(config)
    with pytest.raises(ConfigError, match="set use_peft true"):
        parse_arguments([*config, "--use_peft", "false"])
