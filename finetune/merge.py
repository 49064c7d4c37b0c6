"""Merge a LoRA adapter into its base: one checkpoint that needs no PEFT, proven to answer as the two did.

python -m finetune.merge --adapter outputs/mine/lora --output-dir outputs/mine/merged
icdtune merge --adapter outputs/mine/lora --output-dir outputs/mine/merged --n-prompts 1000

The merged weights are computed in float32 and saved in the type of the base. Then the folder is loaded again, and base and
adapter on one side and the merged checkpoint on the other answer the same texts greedily, in float32 both. Answers may differ
where two tokens were as good as tied; anything else, and nothing is left behind.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import DirectoryPath, Field, NonNegativeFloat, PositiveInt

from data_gen.examples import read_examples
from finetune.greedy import Answer, answer_with_gaps
from finetune.previous_run import check_empty
from finetune.stage_run import name_full_disk, quiet_libraries
from icd10cm.adapter_files import check_base, find_base, read_adapter
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import CheckpointError
from icd10cm.run_header import build_header, read_header, write_json, write_text

TIES = {"float32": 1.0e-3, "bfloat16": 0.1, "float16": 0.02}
"""Type that the merged weights are saved in, to the gap in log-probability (nats) that its rounding can turn around."""


class MergeSettings(Settings):
    """What to merge, and how to prove it."""

    adapter: DirectoryPath = Field(description="folder of a LoRA adapter, as finetune.sft and finetune.grpo write it")
    output_dir: Path = Field(description="folder to write the merged checkpoint into; must be empty or new")
    data: DirectoryPath | None = Field(
        None, description="data folder whose validation texts are answered; that of the adapter's run, or titles of the release"
    )
    n_prompts: PositiveInt = Field(200, description="texts that are answered before and after")
    batch_size: PositiveInt = Field(32, description="texts at a time")
    tolerance: NonNegativeFloat | None = Field(
        None,
        description="largest gap in log-probability between two tokens that counts as a tie; "
        + ", ".join(f"{gap:g} for {kind}" for kind, gap in TIES.items()),
    )


class Difference(NamedTuple):
    """A text that is answered otherwise after the merge.

    Attributes:
        text: what was asked.
        before: the answer of base and adapter.
        after: the answer of the merged checkpoint.
        gap: log-probability, before the merge, of the first token that differs, less that of the token written after it.
    """

    text: str
    before: str
    after: str
    gap: float


def main(argv: Sequence[str] | None = None) -> None:
    """Merge, prove, and only then leave the checkpoint."""
    settings = load_settings(MergeSettings, argv, doc=__doc__ or "", prog="python -m finetune.merge")
    quiet_libraries()
    adapter, output = settings.adapter, settings.output_dir
    read_adapter(adapter)
    base = find_base(adapter)
    check_empty(output)
    check_base(adapter, base)
    texts = choose_texts(settings)
    scratch = output.with_name(f".{output.name}.merging")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        with name_full_disk(output):
            header = _merge(settings, base, texts, scratch)
        output.mkdir(parents=True, exist_ok=True)
        output.rmdir() if not any(output.iterdir()) else shutil.rmtree(output)
        scratch.rename(output)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    proof = header["proof"]
    same = f"{proof['n_same']:,} of {proof['n_prompts']:,} answers are the same, the others ties"
    print(f"{output}: {same}; saved in {header['dtype']}")


def choose_texts(settings: MergeSettings) -> list[str]:
    """Return `n_prompts` texts, evenly spaced: of the validation data, or titles of the release where there is none."""
    run = settings.adapter / "run.json"
    folder = settings.data or Path(str(read_header(run)["settings"].get("data", "")) if run.is_file() else "")
    file = folder / "validation.parquet"
    if settings.data or file.is_file():
        texts = list(dict.fromkeys(example.text for example in read_examples(file)))
    else:
        codes = CodeSet.load()
        texts = [codes.title(code) for code in codes.codes]
    n = min(settings.n_prompts, len(texts))
    return [texts[place * len(texts) // n] for place in range(n)]


def compare_answers(texts: Sequence[str], before: Sequence[Answer], after: Sequence[Answer]) -> list[Difference]:
    """Return what is answered otherwise, widest gap first."""
    found = []
    for text, old, new in zip(texts, before, after, strict=True):
        if old.tokens == new.tokens:
            continue
        place = next((i for i, (a, b) in enumerate(zip(old.tokens, new.tokens, strict=False)) if a != b), None)
        gap = float("inf") if place is None else old.gap_to(place, new.tokens[place])
        found.append(Difference(text, old.text, new.text, gap))
    return sorted(found, key=lambda difference: -difference.gap)


def check_proof(differences: Sequence[Difference], n_prompts: int, tolerance: float) -> None:
    """Raise `CheckpointError` where an answer changed that was no tie."""
    broken = [difference for difference in differences if not difference.gap <= tolerance]
    if broken:
        text, before, after, gap = broken[0]
        raise CheckpointError(
            f"the merged model answers {len(broken)} of {n_prompts} texts otherwise, by more than a tie ({tolerance:g}); "
            f"the widest: {text!r} was {before!r}, is {after!r} (log-probability gap {gap:.4f}); nothing was written"
        )


def _merge(settings: MergeSettings, base: Path, texts: Sequence[str], scratch: Path) -> dict[str, Any]:
    """Write the merged checkpoint into `scratch` and return its header. Raises `CheckpointError` where the proof fails."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    adapter = settings.adapter
    tokenizer = AutoTokenizer.from_pretrained(str(adapter), local_files_only=True)
    dtype = _find_dtype(base)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    plain: Any = AutoModelForCausalLM.from_pretrained(str(base), dtype=torch.float32, local_files_only=True)
    plain.to(device)
    # the adapter may have been trained with more tokens than its base knows
    if len(tokenizer) > plain.get_input_embeddings().weight.shape[0]:
        raise CheckpointError(f"{adapter}: its tokenizer has {len(tokenizer):,} tokens, more than its base {base} has")
    model: Any = PeftModel.from_pretrained(plain, str(adapter)).eval()
    before = answer_with_gaps(model, tokenizer, texts, settings.batch_size)
    try:
        merged = model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise CheckpointError(f"{adapter}: cannot be merged ({str(error).splitlines()[0]}); its weights are damaged") from None
    merged.to(getattr(torch, dtype)).save_pretrained(scratch)
    tokenizer.save_pretrained(scratch)
    del model, merged, plain
    again: Any = AutoModelForCausalLM.from_pretrained(str(scratch), dtype=torch.float32, local_files_only=True)
    again.to(device).eval()
    after = answer_with_gaps(again, tokenizer, texts, settings.batch_size)
    tolerance = TIES.get(dtype, TIES["float16"]) if settings.tolerance is None else settings.tolerance
    differences = compare_answers(texts, before, after)
    for text, old, new, gap in differences[:10]:
        say(f"differs by {gap:.4f}: {text!r} was {old!r}, is {new!r}")
    check_proof(differences, len(texts), tolerance)
    proof = {
        "n_prompts": len(texts),
        "n_same": len(texts) - len(differences),
        "tolerance": tolerance,
        "differences": [difference._asdict() for difference in differences],
    }
    return _write_header(settings, base, scratch, dtype, proof, again.num_parameters())


def _write_header(
    settings: MergeSettings, base: Path, scratch: Path, dtype: str, proof: dict[str, Any], n_parameters: int
) -> dict[str, Any]:
    """Write `run.json` and the model card: the adapter's, with a word on the merge."""
    adapter = settings.adapter
    run, card = adapter / "run.json", adapter / "README.md"
    trained = read_header(run) if run.is_file() else {}
    header = build_header(
        "finetune.merge",
        settings.model_dump(mode="json"),
        [adapter / "adapter_model.safetensors", adapter / "adapter_config.json", *sorted(base.glob("*.safetensors"))],
        trained.get("release"),
        adapter=str(adapter),
        base=str(base),
        adapter_run=trained.get("settings"),
        dtype=dtype,
        n_parameters=n_parameters,
        proof=proof,
        finished=True,
    )
    write_json(scratch / "run.json", header)
    merge = (
        f"\n## Merged\n\n`{adapter.name}` merged into `{base}` in float32 and saved in {dtype}; {proof['n_same']:,} of "
        f"{proof['n_prompts']:,} greedy answers are the same as before, the others ties within {proof['tolerance']:g}.\n"
    )
    write_text(scratch / "README.md", (card.read_text(encoding="utf-8") if card.is_file() else "# Merged checkpoint\n") + merge)
    return header


def _find_dtype(base: Path) -> str:
    from transformers import AutoConfig

    kind = AutoConfig.from_pretrained(str(base), local_files_only=True).get_text_config().dtype
    return str(kind or "float32").removeprefix("torch.")


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
