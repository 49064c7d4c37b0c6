"""However a batch is spread over accumulation, processes, shards and machines, the same weights come out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml
from stage_runs import TINY, TITLES, launch, start

from data_gen.examples import Example, write_examples

pytestmark = pytest.mark.slow
STAGE = {
    "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "optim": "sgd", "learning_rate": 0.1,
    "lr_scheduler_type": "constant", "max_steps": 6, "max_length": 128, "save_strategy": "steps", "save_steps": 6,
    "eval_strategy": "no", "logging_steps": 1, "report_to": "none", "seed": 3,
}  # fmt: skip
HALF = ("--per_device_train_batch_size", "4")


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stage of six steps of eight rows; the rows of a batch differ in length."""
    folder = tmp_path_factory.mktemp("stage")
    for split, repeats in (("train", 12), ("validation", 1)):
        rows = [
            Example(f"{split}-{code}-{i}", "base", title + " x" * i, (code,), split, "cms", "2026")
            for i in range(repeats)
            for code, title in TITLES.items()
        ]
        write_examples(folder / "data" / f"{split}.parquet", rows)
    (folder / "tiny.yaml").write_text(TINY)
    settings = {"data": str(folder / "data"), "output_dir": str(folder / "x"), "from_scratch": str(folder / "tiny.yaml")}
    (folder / "stage.yaml").write_text(yaml.safe_dump(settings | STAGE))
    return folder / "stage.yaml"


@pytest.fixture(scope="module")
def reference(stage: Path) -> Path:
    """One process, eight rows at once."""
    return train_here(stage, "--per_device_train_batch_size", "8")


def train_here(stage: Path, *arguments: str) -> Path:
    from finetune.sft import run

    folder = stage.parent / f"here{'-'.join(arguments)}"
    assert run(["--config", str(stage), "--output_dir", str(folder), *arguments]) == 0
    return folder


def read_weights(file: Path) -> dict[str, np.ndarray]:
    """Return the weights; the head is the embedding, and no way of saving may write it twice."""
    from safetensors.numpy import load_file

    weights = load_file(file)
    assert "lm_head.weight" not in weights
    return weights


def measure_difference(folder: Path, reference: Path) -> float:
    """Return how far two runs ended from each other, as a share of the way that the reference went."""
    begin = read_weights(reference / "from_scratch" / "model.safetensors")
    expected, got = (read_weights(run / "model.safetensors") for run in (reference, folder))
    assert begin.keys() == expected.keys() == got.keys()
    way = np.sqrt(sum(((expected[name] - begin[name]) ** 2).sum() for name in begin))
    apart = np.sqrt(sum(((expected[name] - got[name]) ** 2).sum() for name in begin))
    assert way > 0.1
    return float(apart / way)


def check_same(folder: Path, reference: Path, n_processes: int = 2) -> None:
    """A batch scaled by 2 or 1/8, or rows seen twice, ends more than a tenth of the way off; rounding ends 1e-6 off."""
    assert json.loads((folder / "run.json").read_text())["n_processes"] == n_processes
    assert measure_difference(folder, reference) < 1e-4


def test_accumulated_rows_are_as_those_of_one_batch(stage: Path, reference: Path) -> None:
    by_one = train_here(stage, "--per_device_train_batch_size", "1", "--gradient_accumulation_steps", "8")
    check_same(by_one, reference, n_processes=1)
    assert measure_difference(train_here(stage, *HALF), reference) > 0.1, "the check would see a batch of another size"


@pytest.mark.parametrize(
    ("config", "of_the_second"),
    [
        ("ddp_2cpu", "rng_state_1.pth"),
        ("zero2_2cpu", "global_step6/*zero_pp_rank_1_*_optim_states.pt"),
        ("zero3_2cpu", "global_step6/*zero_pp_rank_1_*_model_states.pt"),
    ],
)
def test_two_processes_are_as_one(config: str, of_the_second: str, stage: Path, reference: Path) -> None:
    folder = stage.parent / config
    done = launch("--config", str(stage), "--output_dir", str(folder), *HALF, config=config)
    assert done.returncode == 0, done.stderr[-3000:]
    check_same(folder, reference)
    assert list((folder / "checkpoint-6").glob(of_the_second)), "the second process kept nothing of its own"


def test_two_processes_under_fsdp2_are_as_one(stage: Path, reference: Path) -> None:
    folder = stage.parent / "fsdp2"
    done = launch(
        "--config", str(stage), "--output_dir", str(folder), *HALF, "--use_cpu", "false",
        config="fsdp2_4gpu", options=("--num_processes", "2"), module="fsdp_on_cpu", PYTHONPATH=str(Path(__file__).parent),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    check_same(folder, reference)
    assert (folder / "checkpoint-6" / "pytorch_model_fsdp.bin").is_file(), "the model was not split"


@pytest.fixture
def two_machines() -> Iterator[list[tuple[str, str, str]]]:
    """Name, network device and address of two network namespaces joined by a cable."""
    if not shutil.which("ip") or os.geteuid():
        pytest.skip("two machines on one host need root and `ip` (iproute2)")
    machines = [(f"icdtune{i}-{os.getpid()}", f"v{i}-{os.getpid()}", f"10.213.57.{i}") for i in (1, 2)]
    (first, device, _), (second, other, _) = machines
    commands = [f"netns add {name}" for name in (first, second)]
    commands.append(f"link add {device} netns {first} type veth peer name {other} netns {second}")
    for name, end, address in machines:
        commands += [
            f"-n {name} address add {address}/24 dev {end}",
            f"-n {name} link set {end} up",
            f"-n {name} link set lo up",
        ]
    try:
        for command in commands:
            done = subprocess.run(["ip", *command.split()], capture_output=True, text=True)
            if done.returncode:
                pytest.skip(f"no network namespaces can be made here: ip {command}: {done.stderr.strip()}")
        yield machines
    finally:
        for name, _, _ in machines:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


def test_two_machines_are_as_one(two_machines: list[tuple[str, str, str]], stage: Path, reference: Path) -> None:
    folder = stage.parent / "machines"
    processes = [
        start(
            "--config", str(stage), "--output_dir", str(folder), *HALF,
            config="two_nodes_cpu", within=("ip", "netns", "exec", name), GLOO_SOCKET_IFNAME=device,
            options=("--machine_rank", str(rank), "--main_process_ip", two_machines[0][2]),
        )
        for rank, (name, device, _) in enumerate(two_machines)
    ]  # fmt: skip
    try:
        for process in processes:
            _, errors = process.communicate(timeout=300)
            assert process.returncode == 0, errors[-3000:]
    finally:
        for process in processes:
            process.kill()
    check_same(folder, reference)
