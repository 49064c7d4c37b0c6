"""Muon: the step of torch's own implementation, AdamW for what is no matrix, and a state that is read back."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
import torch

from finetune.machines import Machines, check_whole
from finetune.muon import MuonAdamW, build_muon, orthogonalize
from finetune.stage_arguments import parse_arguments
from finetune.tiny import TinyLlama, build_model, train_tokenizer
from icd10cm.errors import ConfigError

SETTINGS = {"lr": 3e-3, "betas": (0.9, 0.98), "weight_decay": 0.01}


@pytest.fixture
def llama() -> torch.nn.Module:
    tokenizer = train_tokenizer(["Cholera", "Typhoid fever"], 300, 32)
    return build_model(TinyLlama(vocab_size=300, hidden_size=64, intermediate_size=96, num_hidden_layers=2), tokenizer)


def learn(model: torch.nn.Module, optimizer: torch.optim.Optimizer, n_steps: int, seed: int) -> float:
    """Return the loss before the last of some steps on the same few rows."""
    rows = torch.randint(5, 250, (4, 12), generator=torch.Generator().manual_seed(seed))
    for _ in range(n_steps):
        loss = model(input_ids=rows, labels=rows).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.mark.parametrize("shape", [(40, 40), (96, 32), (32, 96)])
def test_singular_values_come_near_one(shape: tuple[int, int]) -> None:
    sizes = torch.tensor([1e-4, 1.0, 100.0])[:, None, None]
    matrices = sizes * torch.randn((3, *shape), generator=torch.Generator().manual_seed(1))
    values = torch.linalg.svdvals(orthogonalize(matrices))
    assert float(values.min()) > 0.6
    assert float(values.max()) < 1.25


def test_matrices_of_one_shape_step_together_as_alone(llama: torch.nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    together, alone = copy.deepcopy(llama), copy.deepcopy(llama)
    learn(together, build_muon(together, **SETTINGS), 3, seed=4)
    monkeypatch.setattr("finetune.muon._NUMBERS_TOGETHER", 1)
    learn(alone, build_muon(alone, **SETTINGS), 3, seed=4)
    for left, right in zip(together.parameters(), alone.parameters(), strict=True):
        assert torch.allclose(left, right, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", [(48, 48), (96, 32), (32, 96)])
def test_steps_are_those_of_torch(shape: tuple[int, int]) -> None:
    """torch's own works in bfloat16, so they agree to two digits."""
    start = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    ours, theirs = (torch.nn.Parameter(start.clone()) for _ in range(2))
    optimizers = (
        MuonAdamW([{"params": [ours], "muon": True}], **SETTINGS),
        torch.optim.Muon([theirs], lr=3e-3, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
    )
    for step in range(4):
        for weight, optimizer in zip((ours, theirs), optimizers, strict=True):
            weight.grad = torch.randn(shape, generator=torch.Generator().manual_seed(10 + step))
            optimizer.step()
    distance = (ours - theirs).detach().norm() / (theirs.detach() - start).norm()
    assert float(distance) < 0.02


def test_embeddings_norms_and_head_go_to_adamw(llama: torch.nn.Module) -> None:
    optimizer = build_muon(llama, **SETTINGS)
    matrices, others = ({id(weight) for weight in group["params"]} for group in optimizer.param_groups)
    for name, weight in llama.named_parameters():
        is_matrix = name.endswith("proj.weight")
        assert (id(weight) in matrices) == is_matrix, name
        assert (id(weight) in others) != is_matrix, name
    assert len(matrices) == 2 * 7


def test_rows_are_learned_by_heart(llama: torch.nn.Module) -> None:
    before = learn(copy.deepcopy(llama), build_muon(llama, **SETTINGS), 1, 3)
    assert learn(llama, build_muon(llama, **SETTINGS), 80, 3) < before / 10


def test_a_saved_state_goes_on_to_the_bit(llama: torch.nn.Module) -> None:
    optimizer = build_muon(llama, **SETTINGS)
    learn(llama, optimizer, 3, 4)
    saved = io.BytesIO()
    torch.save((llama.state_dict(), optimizer.state_dict()), saved)
    learn(llama, optimizer, 3, 5)

    saved.seek(0)
    weights, state = torch.load(saved)
    again = copy.deepcopy(llama)
    again.load_state_dict(weights)
    resumed = build_muon(again, **SETTINGS)
    resumed.load_state_dict(state)
    learn(again, resumed, 3, 5)
    for (name, ours), theirs in zip(llama.named_parameters(), again.parameters(), strict=True):
        assert torch.equal(ours, theirs), name


def test_adapters_and_split_weights_are_refused_in_one_line(tmp_path: Path) -> None:
    arguments = ["--data", str(tmp_path), "--output_dir", "x", "--model_name_or_path", "a/b", "--muon", "true"]
    with pytest.raises(ConfigError, match="'muon' is for supervised stages that train whole weights"):
        parse_arguments([*arguments, "--use_peft", "true", "--use_cpu", "true", "--bf16", "false"])
    with pytest.raises(ConfigError, match="zero2 splits them"):
        check_whole(Machines(sharding="zero2"), "muon")
    check_whole(Machines(processes=2), "muon")
