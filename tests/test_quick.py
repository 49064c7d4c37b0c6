"""The small Llama in NumPy is the one of transformers: the same logits, the same answers, the same tokens."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from icd10cm import CodeSet
from icd10cm.errors import CheckpointError
from serving.checkpoint import check_checkpoint
from serving.fallback.jobs import Job, Sampling
from serving.prompting import load_tokenizer, read_frame, read_token_texts, tokenize
from serving.quick.llama import Llama, can_read
from serving.quick.tokenizer import QuickTokenizer
from serving.quick.writer import QuickWriter

TEXTS = ["gout", "T2DM w/ foot ulcer, HTN", "é ß 中文 <|end|> 250.00", "fracture " * 20, "x"]


def write_model(folder: Path, **size: Any) -> Any:
    """Write a small Llama of random weights and return it as transformers reads it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=90, hidden_size=48, intermediate_size=80, num_hidden_layers=2, max_position_embeddings=64, **size
    )
    model = LlamaForCausalLM(config)
    with torch.no_grad():
        for weights in model.parameters():
            weights.normal_(1.0 if weights.dim() == 1 else 0.0, 0.3)
    model.to(getattr(torch, size.get("dtype", "float32"))).save_pretrained(folder)
    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@pytest.mark.parametrize(
    "size",
    [
        {"num_attention_heads": 4, "tie_word_embeddings": True},
        {"num_attention_heads": 6, "num_key_value_heads": 2, "rope_theta": 500.0, "rms_norm_eps": 1e-3, "dtype": "bfloat16"},
        {"num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 32, "dtype": "float16"},
    ],
    ids=["tied", "grouped, bf16", "wide heads, fp16"],
)
def test_logits_are_those_of_transformers_however_a_text_is_split(tmp_path: Path, size: dict[str, Any]) -> None:
    import torch

    theirs = write_model(tmp_path, **size)
    tokens = np.random.default_rng(1).integers(0, 90, 30).tolist()
    with torch.inference_mode():
        wanted = theirs(torch.tensor([tokens])).logits[0].numpy()
    ours = Llama(tmp_path)
    logits, _ = ours.read(tokens)
    np.testing.assert_allclose(logits, wanted, atol=2e-3 * np.abs(wanted).max())
    first, past = ours.read(tokens[:11])
    second, past = ours.read(tokens[11:12], past)
    third, _ = ours.read(tokens[12:], past)
    np.testing.assert_allclose(np.concatenate([first, second, third]), logits, atol=1e-3 * np.abs(wanted).max())


def test_answers_and_their_scores_are_those_of_transformers(random_checkpoint: Path, codes: CodeSet) -> None:
    from serving.fallback.writer import BatchWriter

    def answer(writer: Any) -> list[Job]:
        prompts = tokenize(writer.tokenizer, read_frame(writer.tokenizer, random_checkpoint), TEXTS)
        jobs = [
            Job(
                prompt=prompt,
                limit=24,
                limited=limited,
                sampling=Sampling(),
                random=np.random.default_rng(0),
                n_top=5,
                n_prompt_top=0,
            )
            for prompt in prompts
            for limited in (True, False)
        ]
        writer.write(jobs)
        return jobs

    assert can_read(check_checkpoint(random_checkpoint))
    ours = answer(QuickWriter(random_checkpoint, codes))
    theirs = answer(BatchWriter(random_checkpoint, codes, progress=False))
    assert [(job.prompt, job.text, job.finish_reason) for job in ours] == [
        (job.prompt, job.text, job.finish_reason) for job in theirs
    ]
    for mine, same in zip(ours, theirs, strict=True):
        for one, other in zip([*mine.steps, *mine.prompt_steps[1:]], [*same.steps, *same.prompt_steps[1:]], strict=True):
            assert (one.chosen.token, one.chosen.rank) == (other.chosen.token, other.chosen.rank)
            assert one.chosen.logprob == pytest.approx(other.chosen.logprob, abs=5e-3)
            assert [top.token for top in one.likeliest] == [top.token for top in other.likeliest]


def test_the_tokenizer_is_the_one_of_transformers(random_checkpoint: Path) -> None:
    ours, theirs = QuickTokenizer(random_checkpoint), load_tokenizer(random_checkpoint)
    assert read_frame(ours, random_checkpoint) == read_frame(theirs, random_checkpoint)
    assert read_token_texts(ours) == read_token_texts(theirs)
    assert ours.eos_token_id == theirs.eos_token_id
    for text in TEXTS:
        ids = ours(text)["input_ids"]
        assert ids == theirs(text, add_special_tokens=False)["input_ids"] and ours([text])["input_ids"] == [ids]
        assert ours.decode(ids, skip_special_tokens=True) == theirs.decode(ids, skip_special_tokens=True)


@pytest.mark.parametrize(
    "changed",
    [
        {"rope_parameters": {"rope_type": "llama3", "factor": 8.0}},
        {"model_type": "qwen2"},
        {"hidden_act": "gelu"},
        {"attention_bias": True},
        {"quantization_config": {"quant_method": "compressed-tensors"}},
    ],
)
def test_what_it_does_not_compute_is_left_to_transformers(tmp_path: Path, random_checkpoint: Path, changed: dict) -> None:
    for file in random_checkpoint.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | changed))
    assert not can_read(check_checkpoint(tmp_path))


def test_damaged_weights_are_one_line(tmp_path: Path) -> None:
    write_model(tmp_path, num_attention_heads=2)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    for damaged, said in (
        (whole[:-50], "cannot be read"),
        (whole.replace(b"model.norm", b"model.nerm"), "no model.norm.weight"),
    ):
        weights.write_bytes(damaged)
        with pytest.raises(CheckpointError, match=said) as caught:
            Llama(tmp_path)
        assert str(weights) in str(caught.value)


def test_a_phrase_is_coded_without_torch_and_transformers(random_checkpoint: Path) -> None:
    program = (
        "import sys; from serving import code; "
        f"code.run(['gout', '--model', {str(random_checkpoint)!r}, '--max-tokens', '20', '--threshold', '0']); "
        "print('heavy:', *sorted({'torch', 'transformers', 'sklearn', 'scipy', 'pandas', 'openai'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert done.stdout.startswith("gout\n  ") and done.stdout.splitlines()[-1].strip() == "heavy:", done.stdout + done.stderr
