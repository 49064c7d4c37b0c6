"""LoRA adapters by name: what does not fit is one line before anything starts, what fits answers under its name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from processes import find_test_port

from icd10cm import CodeSet
from icd10cm.errors import CheckpointError, ConfigError, ICDTuneError
from serving.adapters import Adapter, build_adapter_flags, check_adapters
from serving.checkpoint import check_checkpoint
from serving.command import ServeSettings, build_launch
from serving.process import start_server


def write_adapter(base: Path, folder: Path, rank: int = 4, seed: int = 1) -> Path:
    """Write an adapter that changes the answers of `base`, with its tokenizer beside it."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(r=rank, lora_alpha=32, target_modules=["q_proj", "v_proj", "o_proj"], task_type="CAUSAL_LM")
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if "lora_" in name:
                weights.normal_(0, 0.5)
    model.save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copy(base / name, folder)
    return folder


@pytest.fixture(scope="module")
def adapters(random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two adapters of the random checkpoint."""
    folder = tmp_path_factory.mktemp("adapters")
    sizes = {"first": 4, "second": 12}
    return {name: write_adapter(random_checkpoint, folder / name, rank, rank) for name, rank in sizes.items()}


def change(**values: Any) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "adapter_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))

    return apply


def change_tokenizer(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    content["added_tokens"][0]["content"] = "<other>"
    (folder / "tokenizer.json").write_text(json.dumps(content))


def move_base(folder: Path) -> None:
    base = folder.parent / "other"
    base.mkdir()
    (base / "config.json").write_text(json.dumps({"model_type": "llama", "hidden_size": 4096}))
    change(base_model_name_or_path=str(base))(folder)


def test_adapters_become_flags(random_checkpoint: Path, adapters: dict[str, Path]) -> None:
    settings = ServeSettings(model=random_checkpoint, adapters=adapters)
    words = " ".join(build_launch(settings, check_checkpoint(random_checkpoint)).command)
    assert f"--lora-modules first={adapters['first']} second={adapters['second']} " in words
    assert "--max-lora-rank 16 --max-loras 2" in words and "--enable-lora" in words
    assert build_adapter_flags([]) == {}


def test_adapters_beside_an_adapter_share_its_base(random_checkpoint: Path, adapters: dict[str, Path]) -> None:
    settings = ServeSettings(model=adapters["first"], adapters={"second": adapters["second"]})
    words = " ".join(build_launch(settings, check_checkpoint(adapters["first"])).command)
    assert f"--model {random_checkpoint} " in words and "--served-model-name icdtune-base" in words
    assert f"--lora-modules icdtune={adapters['first']} second={adapters['second']}" in words and "--max-loras 2" in words


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: shutil.rmtree(folder), "no such adapter folder"),
        (lambda folder: (folder / "adapter_config.json").unlink(), "holds no LoRA adapter"),
        (lambda folder: (folder / "adapter_model.safetensors").unlink(), "no whole LoRA adapter"),
        (change(peft_type="IA3"), "kind IA3"),
        (change(r=1000), "rank 1000 is more than the 512"),
        (change(rank_pattern={"q_proj": 64}), "rank_pattern"),
        (change(use_dora=True), "use_dora"),
        (change_tokenizer, "its tokenizer is not that of its base"),
        (move_base, "(hidden_size 4096)"),
    ],
)
def test_what_does_not_fit_is_one_line(
    random_checkpoint: Path, adapters: dict[str, Path], tmp_path: Path, damage: Callable[[Path], None], words: str
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(adapters["first"], folder)
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        check_adapters({"own": folder}, check_checkpoint(random_checkpoint), "icdtune")
    message = str(caught.value)
    assert words in message and str(folder) in message and "\n" not in message


def test_an_adapter_whose_base_is_elsewhere_is_compared_by_its_tokenizer(
    random_checkpoint: Path, adapters: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(adapters["first"], folder)
    change(base_model_name_or_path="outputs/nowhere")(folder)
    assert check_adapters({"own": folder}, check_checkpoint(random_checkpoint), "icdtune") == [Adapter("own", folder, 4)]


@pytest.mark.parametrize("name", ["icdtune", "icdtune-base"])
def test_a_name_that_is_taken_is_refused(adapters: dict[str, Path], name: str) -> None:
    with pytest.raises(ConfigError, match="another one"):
        check_adapters({name: adapters["second"]}, check_checkpoint(adapters["first"]), "icdtune")


def test_quantised_weights_on_a_cpu_carry_no_adapters(
    random_checkpoint: Path, adapters: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    quantised = check_checkpoint(random_checkpoint)._replace(quantization="compressed-tensors")
    monkeypatch.setattr("serving.adapters.is_cpu_build", lambda: True)
    with pytest.raises(CheckpointError, match="carry no adapters"):
        check_adapters(adapters, quantised, "icdtune")
    assert check_adapters({}, quantised, "icdtune") == []
    monkeypatch.setattr("serving.adapters.is_cpu_build", lambda: False)
    assert len(check_adapters(adapters, quantised, "icdtune")) == 2


def test_the_fallback_serves_no_adapters_and_says_so(random_checkpoint: Path, adapters: dict[str, Path]) -> None:
    from serving.process import plan_launch

    settings = ServeSettings(model=random_checkpoint, engine="transformers", adapters=adapters, tensor_parallel_size=2)
    with pytest.raises(ICDTuneError, match="adapters, tensor_parallel_size: needs vLLM"):
        plan_launch(settings, check_checkpoint(random_checkpoint))


@pytest.mark.slow
def test_each_adapter_answers_under_its_name_with_codes_only(
    random_checkpoint: Path, adapters: dict[str, Path], codes: CodeSet, tmp_path: Path
) -> None:
    port = find_test_port(18900)
    settings = ServeSettings(
        model=random_checkpoint, engine="vllm", adapters=adapters, port=port, log_file=tmp_path / "vllm.log"
    )
    with start_server(settings, progress=False) as server:
        client = openai.OpenAI(base_url=server.base_url, api_key="none", max_retries=0)
        assert {model.id for model in client.models.list().data} == {"icdtune", "first", "second"}
        answers = {}
        for name in ("icdtune", "first", "second"):
            texts = ("gout", "copd", "T2DM w/ foot ulcer")
            replies = [client.completions.create(model=name, prompt=text, max_tokens=60) for text in texts]
            answers[name] = tuple(reply.choices[0].text for reply in replies)
            written = {code for answer in answers[name] for code in answer.rstrip(", ").split(", ")}
            assert written and written <= set(codes.codes)
        assert len(set(answers.values())) == 3
        with pytest.raises(openai.NotFoundError):
            client.completions.create(model="third", prompt="gout")
