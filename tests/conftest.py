"""What tests share: the code set, the folder of real data, a tokenizer whose tokens span several characters."""

from __future__ import annotations

import random
import signal
import string
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from icd10cm import CodeSet

ROOT = Path(__file__).parent.parent

settings.register_profile("steady", deadline=None, derandomize=True)
settings.load_profile("steady")

# a shell's background job ignores Ctrl-C, and so would all that the tests start and then interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def codes() -> CodeSet:
    """The embedded release."""
    return CodeSet.load()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real files that are not part of the project."""
    folder = ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no ../shared/data beside the checkout: it holds the real CMS files this test reads")
    return folder


@pytest.fixture(scope="session")
def code_file_lines(codes: CodeSet) -> list[str]:
    """The embedded release as the lines of a CMS code file."""
    return [f"{code.replace('.', ''):<7} {codes.title(code)}" for code in codes.codes]


@pytest.fixture(scope="session")
def non_codes(codes: CodeSet) -> list[str]:
    """10,000 texts, seeded, that are near to codes and are not: of the same shape, misspelled, headings, cut short."""
    seeded = random.Random(10)
    letters, signs = string.ascii_uppercase, string.ascii_uppercase + string.digits

    def draw_shape() -> str:
        tail = "".join(seeded.choices(signs, k=seeded.randrange(5)))
        return seeded.choice(letters) + "".join(seeded.choices(string.digits, k=2)) + (f".{tail}" if tail else "")

    def change_one() -> str:
        code = list(seeded.choice(codes.codes))
        code[seeded.choice([place for place, sign in enumerate(code) if sign != "."])] = seeded.choice(signs)
        return "".join(code)

    def cut_short() -> str:
        code = seeded.choice(codes.codes)
        return code[: seeded.randrange(3, len(code) + 1)].rstrip(".")

    def make_longer() -> str:
        return seeded.choice(codes.codes) + seeded.choice(signs)

    headings = [code for code, heading in codes.headings.items() if not heading.billable]
    ways = (draw_shape, change_one, cut_short, make_longer, lambda: seeded.choice(headings))
    drawn: dict[str, None] = {}
    while len(drawn) < 10_000:
        text = seeded.choice(ways)()
        if text not in codes.headings or not codes.headings[text].billable:
            drawn[text] = None
    return list(drawn)


@pytest.fixture(scope="session")
def byte_level_tokenizer(codes: CodeSet) -> Any:
    """A byte-level BPE trained on lists of codes, so that tokens span dots, separators and whole codes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=1000,
        special_tokens=["<pad>", "<end>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    seeded = random.Random(1)
    bpe.train_from_iterator((", ".join(seeded.sample(codes.codes, 4)) for _ in range(2000)), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<end>", pad_token="<pad>")


@pytest.fixture(scope="session")
def random_checkpoint(codes: CodeSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint folder of a very small Llama with random weights, whole but untrained.

    The weights are larger than fresh ones, so that its greedy answers differ from text to text and hang on no rounding.
    """
    import torch
    from transformers import LlamaForCausalLM

    from finetune.tiny import TinyLlama, write_tiny_checkpoint
    from icd10cm.run_header import build_header, write_json

    folder = tmp_path_factory.mktemp("checkpoint") / "random"
    size = TinyLlama(vocab_size=600, hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2)
    write_tiny_checkpoint(size, [codes.title(code) for code in codes.codes[::200]], folder)
    model = LlamaForCausalLM.from_pretrained(folder)
    with torch.no_grad():
        for weights in model.parameters():
            if weights.dim() > 1:
                weights.mul_(15)
    model.save_pretrained(folder)
    write_json(folder / "run.json", build_header("test", {}, release=codes.release))
    return folder


@pytest.fixture(scope="module")
def vllm_server(random_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A real vLLM server with the settings that `serving.serve` ships, on the random checkpoint."""
    from processes import find_test_port

    from icd10cm.config import check_settings, read_yaml
    from serving.command import ServeSettings
    from serving.process import start_server

    values = read_yaml(ROOT / "configs" / "serving" / "vllm.yaml")
    log_file = tmp_path_factory.mktemp("server") / "vllm.log"
    changed = {"model": random_checkpoint, "port": find_test_port(18400), "log_file": log_file}
    with start_server(check_settings(ServeSettings, values | changed, "test"), progress=False) as server:
        yield server


@pytest.fixture(scope="module")
def upstream() -> Iterator[Any]:
    """A real HTTP server that behaves like a model server and fails in the ways it is told to."""
    from upstream_server import start_upstream

    with start_upstream() as server:
        yield server
