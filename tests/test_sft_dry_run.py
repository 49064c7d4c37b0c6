"""What a dry run says: for every stage, without GPU or network; and that the memory it names is what training takes."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
from stage_runs import ROOT

from finetune.dry_run import LLAMAS, measure_start
from finetune.machines import Machines, check_gpus, leave_launch, read_machines
from finetune.memory import ModelSize, count_activations, estimate_memory, measure_model
from finetune.sft import run
from finetune.stage_arguments import StageArguments
from icd10cm.errors import ConfigError

FILES = sorted((ROOT / "configs" / "sft").glob("*.yaml"))
STAGES = {path.stem: path for path in FILES if not path.stem.endswith("_model")}
ONE_B = ModelSize(1_000, 1_000, 800, 10, 64, 32, 128, 100)
ONE_PROCESS = Machines()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from data_gen.generate import run as generate

    folder = tmp_path_factory.mktemp("small")
    assert generate(["--config", str(ROOT / "configs/data/small.yaml"), "--output-dir", str(folder)]) == 0
    return folder


@pytest.mark.parametrize("path", STAGES.values(), ids=STAGES)
def test_every_stage_says_what_it_would_do(
    path: Path, data: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", constants.HF_HUB_OFFLINE)
    monkeypatch.chdir(ROOT)
    arguments = ["--config", str(path), "--data", str(data), "--dry-run", "--too_long", "drop"]
    if "model_name_or_path: outputs/" in path.read_text():
        arguments += ["--model_name_or_path", "meta-llama/Llama-3.2-1B-Instruct"]
    assert run(arguments) == 0
    shown = capsys.readouterr().out
    lines = dict(line.split(maxsplit=1) for line in shown.splitlines() if line)
    assert " training rows per epoch" in lines["data"] and " per epoch" in lines["tokens"] and " per epoch" in lines["steps"]
    assert lines["memory"].startswith("about ") and " parameters" in lines["memory"] and "an estimate" in lines["memory"]
    assert "[E][1][1]" in shown or "[E11.]" in shown or "accept its licence at huggingface.co/meta-llama/" in shown
    if "lora" in path.stem:
        assert " trained" in lines["memory"]


@pytest.mark.parametrize(("name", "n"), [*zip(LLAMAS, (1_235_814_400, 3_212_749_824, 8_030_261_248), strict=True)])
def test_gated_models_have_their_published_sizes(name: str, n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants
    from trl import ModelConfig

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    size = measure_start(StageArguments(data=""), ModelConfig(model_name_or_path=name), None)
    assert size and size.parameters == size.trained == n


@pytest.mark.parametrize("precision", ["bfloat16", "autocast", "float32"])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_activations_of_layers_are_what_a_backward_pass_keeps(precision: str, checkpointing: bool) -> None:
    (few, counted_few), (many, counted_many) = (count_kept(n_layers, precision, checkpointing) for n_layers in (2, 6))
    assert many - few == pytest.approx(counted_many - counted_few, rel=0.1)


def count_kept(n_layers: int, precision: str, checkpointing: bool) -> tuple[float, int]:
    """Return the bytes that a small Llama keeps for its backward pass, as estimated and as counted."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    rows, width, kept = 16, 64, {}
    config = LlamaConfig(
        vocab_size=64, hidden_size=96, intermediate_size=320, num_hidden_layers=n_layers, num_attention_heads=4,
        num_key_value_heads=2, use_cache=False,
    )  # fmt: skip
    model = LlamaForCausalLM(config).to(torch.bfloat16 if precision == "bfloat16" else torch.float32).train()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        is_copy_of_weights = precision == "autocast" and tensor.dim() == 2 and max(tensor.shape) <= 320
        if storage.data_ptr() not in weights and not is_copy_of_weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    mask = torch.ones(rows, width, dtype=torch.long)
    mask[0, :5] = 0
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"),
    ):
        model(input_ids=torch.randint(0, 64, (rows, width)), attention_mask=mask, logits_to_keep=1)
    return count_activations(measure_model(model), rows * width, precision, checkpointing), sum(n for n, _ in kept.values())


def test_states_are_what_an_optimizer_keeps() -> None:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    model = LlamaForCausalLM(
        LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
    )
    optimizer = torch.optim.AdamW(model.parameters())
    model(input_ids=torch.zeros(1, 4, dtype=torch.long)).logits.sum().backward()
    optimizer.step()
    tensors = [value for state in optimizer.state.values() for value in state.values() if value.dim()]
    parts, _ = estimate(measure_model(model), bf16=False)
    assert parts["optimizer"] == sum(tensor.nbytes for tensor in tensors)
    assert parts["weights"] == parts["gradients"] == sum(parameter.nbytes for parameter in model.parameters())


def estimate(size: ModelSize, machines: Machines = ONE_PROCESS, **changes: Any) -> tuple[dict[str, float], float]:
    sft: Any = Namespace(per_device_train_batch_size=1, gradient_checkpointing=False, optim="adamw_torch_fused", bf16=True)
    model: Any = Namespace(dtype="float32", use_peft=False, load_in_4bit=False, use_bnb_nested_quant=False)
    for key, value in changes.items():
        setattr(sft if hasattr(sft, key) else model, key, value)
    return estimate_memory(size, sft, model, machines, longest=1, kept=1)


@pytest.mark.parametrize(
    ("sharding", "weights", "gradients", "optimizer"),
    [
        ("none", 4_000 + 2 * 800, 2 * 4_000, 8_000),
        ("zero1", 2_000, 2_000, 12_000 / 4),
        ("zero2", 2_000, 2_000 / 4, 12_000 / 4),
        ("zero3", 2_000 / 4 + 2 * 2 * 80, 2_000 / 4, 12_000 / 4),
        ("fsdp2", 4_000 / 4 + 2 * 2 * 80 + 2 * 200, 4_000 / 4, 8_000 / 4),
    ],
)
def test_what_is_split_is_split(sharding: str, weights: float, gradients: float, optimizer: float) -> None:
    parts, host = estimate(ONE_B, Machines(processes=4, here=4, sharding=sharding))
    assert [parts[name] for name in ("weights", "gradients", "optimizer")] == [weights, gradients, optimizer]
    assert host == 0


def test_adapters_bits_and_offloading_take_less() -> None:
    adapters = ONE_B._replace(trained=10)
    parts, _ = estimate(adapters, dtype="bfloat16", use_peft=True)
    assert (parts["weights"], parts["gradients"], parts["optimizer"]) == (2_000 + 40, 40, 80)
    parts, _ = estimate(adapters, dtype="bfloat16", use_peft=True, load_in_4bit=True)
    assert parts["weights"] == 800 * 0.5625 + 2 * 200 + 40
    assert estimate(ONE_B, optim="adamw_8bit")[0]["optimizer"] == 2_000
    parts, host = estimate(ONE_B, Machines(4, 4, sharding="zero3", offloads_optimizer=True, offloads_weights=True))
    assert (parts["optimizer"], parts["weights"], host) == (0, 320, 500 + 3_000)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("cpu", Machines(on_cpu=True)),
        ("one_gpu", Machines()),
        ("ddp_4gpu", Machines(4, 4)),
        ("zero2_4gpu", Machines(4, 4, sharding="zero2")),
        ("zero3_4gpu", Machines(4, 4, sharding="zero3")),
        ("zero3_offload_4gpu", Machines(4, 4, sharding="zero3", offloads_optimizer=True, offloads_weights=True)),
        ("zero2_2x4gpu", Machines(8, 4, sharding="zero2")),
        ("fsdp2_4gpu", Machines(4, 4, sharding="fsdp2")),
    ],
)
def test_machines_are_those_of_the_accelerate_file(name: str, expected: Machines, monkeypatch: pytest.MonkeyPatch) -> None:
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils import launch

    monkeypatch.chdir(ROOT)
    config = f"configs/accelerate/{name}.yaml"
    words = ["--config_file", config, "--machine_rank", "0", "--main_process_ip", "10.0.0.1", "-m", "finetune.sft"]
    parsed, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    parsed.deepspeed_fields_from_accelerate_config = ""
    if parsed.use_deepspeed:
        _, environment = launch.prepare_deepspeed_cmd_env(parsed)
    elif parsed.multi_gpu or parsed.use_fsdp:
        environment = launch.prepare_multi_gpu_env(parsed)
    else:
        _, environment = launch.prepare_simple_launcher_cmd_env(parsed)
    if expected.processes > 1:  # what torchrun adds
        environment |= {
            "WORLD_SIZE": str(parsed.num_processes),
            "LOCAL_WORLD_SIZE": str(expected.here),
            "RANK": "0",
            "LOCAL_RANK": "0",
        }
    assert read_machines([], environment) == expected
    leave_launch(environment)
    assert read_machines([], environment) == Machines(on_cpu=expected.on_cpu)


def test_fewer_gpus_than_processes_are_named_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch

    too_many = torch.cuda.device_count() + 1 + (not torch.cuda.is_available())
    for name, value in {"WORLD_SIZE": too_many, "LOCAL_WORLD_SIZE": too_many, "RANK": 0, "LOCAL_RANK": 0}.items():
        monkeypatch.setenv(name, str(value))
    assert run(["--config", str(ROOT / "configs/sft/stage1_initial.yaml"), "--data", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert (
        said.count("\n") == 1
        and f"starts {too_many} processes on this machine, which has" in said
        and "configs/accelerate/" in said
    )
    monkeypatch.setattr("finetune.machines._SECONDS_FOR_THE_FIRST", 0)
    machines = read_machines(["--config", str(ROOT / "configs/sft/stage1_initial.yaml")])
    with pytest.raises(SystemExit) as stopped:
        check_gpus(machines._replace(local_rank=1))
    assert stopped.value.code == 2 and capsys.readouterr().err == ""
    with pytest.raises(ConfigError):
        check_gpus(machines)
    check_gpus(read_machines(["--config", str(ROOT / "configs/sft/tiny_stage1.yaml")]))
    check_gpus(read_machines(["--use_cpu"]))


def test_missing_data_is_one_line_with_the_command_that_writes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "configs" / "data" / "mine.yaml"
    config.parent.mkdir(parents=True)
    config.write_text(json.dumps({"output_dir": "outputs/mine"}))
    monkeypatch.chdir(tmp_path)
    for folder, command in (("outputs/mine", "--config configs/data/mine.yaml"), ("elsewhere", "--config FILE")):
        assert (
            run(
                [
                    "--config",
                    str(ROOT / "configs/sft/tiny_stage1.yaml"),
                    "--from_scratch",
                    str(config),
                    "--data",
                    folder,
                    "--dry-run",
                ]
            )
            == 2
        )
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and f"'{folder}' does not exist; python -m data_gen.generate {command} writes it" in said
