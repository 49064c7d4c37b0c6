"""A trained checkpoint as the embedded model: weights in bf16, what serving reads, and a card with the scores of these weights.

python benchmarks/embedded_model.py weights outputs/full_scratch/{everyday,names}/model --output outputs/mine/embedded
python benchmarks/embedded_model.py card outputs/mine/test/scores.json --output outputs/mine/embedded

Between the two it is calibrated and scored as it is shipped; `benchmarks/full_scale.sh cpu embed` does all of it. What comes
out names no path of its machine, ready to be copied to `serving/embedded_model`.
"""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from eval.reporting.columns import Column, build_columns
from eval.reporting.model_card import build_metadata
from eval.scores_file import read_scores
from eval.table import write_table
from icd10cm.entry import run_entry, say
from icd10cm.errors import DataError
from icd10cm.run_header import hash_file, read_header, write_json, write_text
from serving.checkpoint import read_json

LARGEST_BYTES = 16 * 10**6
WEIGHTS = "model.safetensors"
_COPIED = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "generation_config.json")

_CARD = """---
{metadata}
---

# {heading}

A Llama of {parameters} parameters, trained from scratch on texts that rules made: no pretraining, no clinical notes, nothing of
MIMIC. It reads a phrase, or a few conditions in one line, and writes billable codes. `icdtune code`, `icdtune serve` and
`icdtune api` load it where no model is named. Weights in bf16, sha256 `{sha256}`.

**Intended use**: to see the whole work on a laptop within seconds. Decision support only: a certified coder decides. Not for
automatic billing, not a medical device, not evaluated on any patient population. It knows the words of the titles, of our
lexicon of short forms and of the paraphrases that our rules make; what is said otherwise it guesses, and says how sure it is.

## Scores

Texts that training did not show, made by the rules that made the training texts; answers kept to billable codes; percent
with 95 % intervals. The other columns need no training. Every table: `docs/results.md` of the project.

{table}

## Training

On two CPU cores, by `benchmarks/full_scale.sh cpu`; last by `{config}`, {steps} steps, commit {commit}.
Settings and hashes are in `run.json`. `calibration.json` was fitted on validation texts with these weights.

Weights: MIT, like the project. ICD-10-CM is in the public domain (CMS and NCHS).
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the weights, or the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("weights", "card"), help="what to write")
    parser.add_argument(
        "inputs",
        nargs="+",
        type=Path,
        help="weights: the checkpoint folder, of several their mean; card: scores.json of its weights, then others'",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the embedded model")
    arguments = parser.parse_args(argv)
    if arguments.what == "weights":
        write_weights(arguments.inputs, arguments.output)
        say(f"written: {arguments.output}, {count_bytes(arguments.output) / 1e6:.1f} MB")
    else:
        columns = build_columns([read_scores(path) for path in arguments.inputs])
        header = read_header(arguments.output / "run.json")
        write_text(arguments.output / "README.md", write_card(header, columns, hash_file(arguments.output / WEIGHTS)))
        say(f"written: {arguments.output / 'README.md'}")


def write_weights(checkpoints: Sequence[Path], folder: Path) -> None:
    """Write a checkpoint in bf16, without what only training needs; of several, each gone on from the one before, their mean.

    The mean of a model and of what a short further training made of it knows what that taught and has forgotten less
    (Wortsman et al. 2022, "Robust fine-tuning of zero-shot models").

    Raises:
        DataError: one is not trained to its end, has other weights than the first, or is too large to be committed.
    """
    import torch
    from safetensors.torch import load_file, save_file

    headers = [read_header(checkpoint / "run.json") for checkpoint in checkpoints]
    for checkpoint, header in zip(checkpoints, headers, strict=True):
        if not header.get("finished"):
            raise DataError(f"{checkpoint}: is not trained to its end")
    checkpoint, header = checkpoints[-1], headers[-1]
    loaded = [load_file(one / WEIGHTS) for one in checkpoints]
    if any({k: v.shape for k, v in one.items()} != {k: v.shape for k, v in loaded[0].items()} for one in loaded):
        raise DataError(f"{checkpoint}: has other weights than {checkpoints[0]}")
    weights = {name: torch.stack([one[name].float() for one in loaded]).mean(0) for name in loaded[0]}
    n_bytes = count_weight_bytes(sum(weight.numel() for weight in weights.values()))
    if n_bytes > LARGEST_BYTES:
        raise DataError(f"{checkpoint}: {n_bytes / 1e6:.1f} MB in bf16; at most {LARGEST_BYTES // 10**6} are committed")
    folder.mkdir(parents=True, exist_ok=True)
    save_file({name: weight.to(torch.bfloat16) for name, weight in weights.items()}, folder / WEIGHTS, {"format": "pt"})
    (folder / WEIGHTS).chmod(0o644)
    for name in _COPIED:
        shutil.copyfile(checkpoint / name, folder / name)
    write_json(folder / "config.json", {**read_json(checkpoint / "config.json"), "dtype": "bfloat16", "use_cache": True})
    entry, *words = header["argv"]
    own = {"source_weights_sha256": [hash_file(one / WEIGHTS) for one in checkpoints], "long_text": "conditions"}
    write_json(folder / "run.json", {**header, **own, "argv": [f"finetune/{Path(entry).name}", *words]})


def write_card(header: dict[str, Any], columns: Sequence[Column], sha256: str) -> str:
    """Return the card.

    Args:
        header: of the last training run.
        columns: scores on test texts: those of these weights, then what they are held against.
        sha256: of the weights.
    """
    top = {
        "license": "mit",
        "language": "en",
        "library_name": "transformers",
        "pipeline_tag": "text-generation",
        "tags": ["icd10cm", "clinical-coding", "trl", "sft"],
        **build_metadata(columns[0]),
    }
    size, n_bytes = header["n_parameters"], count_weight_bytes(header["n_parameters"])
    return _CARD.format(
        metadata=yaml.safe_dump(top, sort_keys=False, allow_unicode=True, width=120).strip(),
        heading=f"The embedded model: every ICD-10-CM code of release {header['release']} in {n_bytes / 1e6:.0f} MB",
        parameters=f"{size / 1e6:.1f} M",
        sha256=sha256,
        table=write_table(columns),
        steps=f"{header['steps']:,}",
        commit=header["git_commit"][:12],
        config=header["argv"][header["argv"].index("--config") + 1],
    )


def count_weight_bytes(n_parameters: int) -> int:
    """Return how many bytes so many weights take in bf16."""
    return 2 * n_parameters


def count_bytes(folder: Path) -> int:
    """Return how many bytes the files of a folder take."""
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
