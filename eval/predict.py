r"""Answer examples with a checkpoint, served models or a retrieval floor; writes predictions that `eval.score` reads.

    python -m eval.predict --model outputs/demo/stage2/model --data outputs/demo/data/test.parquet \
        --output outputs/demo/stage2/predictions.jsonl
    python -m eval.predict --base-url http://127.0.0.1:8000/v1 --data test.parquet --output outputs/served/predictions.jsonl
    python -m eval.predict --engine floor --data test.parquet --output outputs/floor/predictions.jsonl
    python -m eval.predict --engine search --data test.parquet --output outputs/search/predictions.jsonl
    python -m eval.predict --config configs/eval/predict_notes.yaml

Stopped at any moment, the same command goes on where it was; examples that failed are asked again. `run.json` stands beside
the predictions, and a run that differs from it in settings, data or model is refused.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import DirectoryPath, Field, FilePath, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from data_gen.examples import SCENARIOS, Example, group_by_scenario, read_examples
from data_gen.leaving import check_leaving, find_clinical
from eval.predicting.answering import FLOORS, answer_missing
from eval.predicting.merging import merge_predictions
from eval.predicting.resuming import take_over, write_in_order
from eval.predicting.selecting import check_scenarios, compare_releases, inherit_header, select_examples
from eval.predictions import STATUSES, Prediction, build_prediction
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError
from icd10cm.run_header import build_header, write_json
from serving.checkpoint import Checkpoint, check_checkpoint
from serving.engines import Alternatives, Engine, Generation, build_engine, check_alternatives, choose_engine, compare_release
from serving.engines.vllm_engine import LONGEST_CONTEXT
from serving.long_notes import SECTIONS, Cutter, build_cutter
from serving.long_notes.budget import choose_budget

_SHOWN = 300
"""Characters of a text that a dry run shows."""


class PredictSettings(Settings):
    """What to answer, and who answers."""

    data: FilePath = Field(description="examples: parquet or JSONL")
    output: Path = Field(description="predictions file to write; its folder holds nothing else but their run.json")
    model: Path | None = Field(None, description="checkpoint folder")
    base_url: str | list[str] | None = Field(
        None,
        description="URL of an OpenAI-compatible server, or several with the same model (key: environment, OPENAI_API_KEY)",
    )
    model_name: str | None = Field(None, description="name of the model on that server, where it has several")
    engine: Literal["auto", "transformers", "vllm", "endpoint", "floor", "search"] = Field(
        "auto", description="who generates; auto: a server where a URL is given, vLLM with a GPU, otherwise transformers"
    )
    constrained: bool = Field(True, description="let answers hold existing codes only")
    instruct: bool = Field(False, description="send the instruction as a system message, for models served without it")
    code_file: FilePath | None = Field(None, description="CMS code file of the release to use; the embedded one when empty")
    floor_codes: Literal["all", "data"] | FilePath = Field(
        "all", description="codes that floor and search choose from: all, those of the data, or those of another data file"
    )
    floor_threshold: float | None = Field(
        None, ge=0, le=1, description="least score of what floor and search find in a note; chosen on CodiEsp train when empty"
    )
    scenarios: list[str] = Field([], description=f"only these of {', '.join(SCENARIOS)}; all when empty")
    limit: NonNegativeInt = Field(0, description="only the first examples of each scenario; 0 for all")
    sample: NonNegativeInt = Field(0, description="only so many examples of each scenario, drawn from all of it; 0 for all")
    sample_of: dict[str, PositiveInt] = Field(
        {}, description="other numbers for some scenarios, such as {multiple: 1000}: texts of many codes take as long as many"
    )
    label: str = Field("", description="short name for reports, such as `stage 2`; the model's when empty")
    ranking: Literal["none", "beam", "sampling"] = Field(
        "none", description="rank codes by a beam search (transformers) or by answers drawn; floors rank for either"
    )
    n_samples: int = Field(20, ge=2, description="beams, or answers drawn for each text")
    n_ranked: PositiveInt = Field(20, description="codes that a ranking keeps")
    score: Literal["logprob", "sampling"] = Field(
        "logprob", description="score of predicted codes: mean log-probability of their tokens, or share of the answers drawn"
    )
    seed: NonNegativeInt = Field(0, description="of the answers and the sample drawn")
    long_text: Literal["whole", "truncate", "sections", "chunks", "conditions"] = Field(
        "whole",
        description="texts too long: leave them, keep the first tokens, the telling sections, or answer windows; "
        "conditions: answer each condition that a text plainly sets apart, too long or not, and what commas or `and` join "
        "in the way that is surest",
    )
    by_condition: list[str] = Field(
        [],
        description="scenarios whose texts are answered condition by condition, whatever long_text says; such as multiple. "
        "When empty: none for models, all but note for floors",
    )
    max_text_tokens: NonNegativeInt = Field(0, description="tokens a text may have; 0 for what the checkpoint reads")
    overlap_tokens: NonNegativeInt = Field(64, description="tokens that a chunk shares with the one before")
    sections: list[str] = Field(list(SECTIONS), description="sections to keep, the most telling first")
    tokenizer: DirectoryPath | None = Field(
        None, description="folder of the tokenizer that counts; the checkpoint's when empty, without one an estimate"
    )
    max_tokens: PositiveInt = Field(256, description="most tokens an answer may have")
    dtype: str = Field("auto", description="auto, float32, bfloat16 or float16")
    batch_size: PositiveInt = Field(64, description="prompts at a time, for transformers")
    concurrency: PositiveInt = Field(32, description="requests at a time, for each server")
    timeout: PositiveFloat = Field(120.0, description="seconds to wait for one answer of a server")
    retries: NonNegativeInt = Field(4, description="how often a request to a server that failed in passing is sent again")
    patience: NonNegativeFloat = Field(300.0, description="seconds to wait for a server when all have stopped answering")
    allow_clinical_text_to_leave: bool = Field(
        False,
        description="true: restricted texts, and what is made after clinical files, may be sent to a base_url on another "
        "machine. Credentialed data (MIMIC) may not, unless its data use agreement and the provider's terms allow it",
    )
    overwrite: bool = Field(False, description="throw away what another run left in the output")
    dry_run: bool = Field(False, description="say what would be asked, ask nothing")


def main(argv: Sequence[str] | None = None) -> int | None:
    """Predict, or go on with an interrupted run."""
    settings = load_settings(PredictSettings, argv, doc=__doc__ or "", prog="python -m eval.predict")
    kind = _choose_kind(settings)
    chosen = (settings.scenarios, settings.limit, settings.data, settings.sample, settings.seed, settings.sample_of)
    examples = select_examples(read_examples(settings.data), *chosen)
    if kind == "endpoint":
        _check_leaving(settings, examples)
    codes = CodeSet.load(settings.code_file)
    checkpoint = check_checkpoint(settings.model, codes.release) if settings.model and kind not in FLOORS else None
    cutter = _build_cutter(settings, kind, checkpoint, settings.long_text)
    apart = settings.by_condition or [scenario for scenario in SCENARIOS if kind in FLOORS and scenario != "note"]
    by_condition = _build_cutter(settings, kind, checkpoint, "conditions") if apart else None
    for warning in [*(checkpoint.warnings if checkpoint else ()), *compare_releases(examples, codes, settings.data)]:
        say(f"warning: {warning}")
    chosen_cutters = {
        example.id: by_condition if by_condition and example.scenario in apart else cutter for example in examples
    }
    parts = {example.id: chosen_cutters[example.id].cut(example.text) for example in examples}
    joined = {name for name, chosen_cutter in chosen_cutters.items() if chosen_cutter.way == "conditions"}
    counts = ", ".join(f"{scenario} {len(group):,}" for scenario, group in group_by_scenario(examples).items())
    if settings.dry_run:
        _describe(settings, kind, examples, counts, [cutter, *([by_condition] if by_condition else [])])
        return 0
    header = _build_header(settings, kind, codes, checkpoint)
    header["data_releases"] = sorted({example.release for example in examples if example.release})
    header |= {"long_text": cutter.describe(), **inherit_header(settings.data)}
    if by_condition:
        header["long_text"]["by_condition"] = by_condition.describe() | {"scenarios": apart}
    finished = take_over(settings.output, header, set(parts), settings.overwrite)
    started = time.monotonic()
    if len(finished) < len(examples):
        engine = _build_engine(settings, kind, codes, examples)
        if getattr(engine, "model", None):
            header["model"] = engine.model  # type: ignore[attr-defined]
        for warning in compare_release(engine, codes):
            say(f"warning: {warning}")
        header["model_release"] = getattr(engine, "release", None) or header["model_release"]
        write_json(settings.output.with_name("run.json"), header)

        def read(example: Example, generations: Sequence[Generation]) -> Prediction:
            answers = [build_prediction(example, one, codes, settings.n_ranked, settings.score) for one in generations]
            return merge_predictions(answers, settings.n_ranked)

        finished |= answer_missing(settings.output, examples, parts, finished, engine, read, joined)
    predictions = [finished[example.id] for example in examples]
    write_in_order(settings.output, predictions)
    statuses = Counter(prediction.status for prediction in predictions)
    seconds = time.monotonic() - started
    header["counts"] = {"n": len(predictions), **{status: statuses[status] for status in STATUSES}}
    write_json(settings.output.with_name("run.json"), header)
    print(f"{settings.output}: {len(predictions):,} predictions ({counts}) in {seconds:.0f} s")
    print(", ".join(f"{status} {statuses[status]:,}" for status in STATUSES))
    if statuses["error"]:
        first = next(prediction for prediction in predictions if prediction.status == "error")
        say(f"warning: {statuses['error']:,} were not answered ({first.output}); the same command asks them again")
    return 0


def _choose_kind(settings: PredictSettings) -> str:
    """Return the engine, refusing settings that do not go together."""
    check_scenarios(settings.by_condition, "by_condition")
    check_scenarios(list(settings.sample_of), "sample_of")
    if settings.engine in FLOORS:
        return settings.engine
    kind = choose_engine(settings.engine, settings.model, settings.base_url)
    check_alternatives(kind, settings.ranking)
    if settings.score == "sampling" and settings.ranking != "sampling":
        raise ConfigError("score: sampling needs ranking: sampling, which draws the answers that are counted")
    return kind


def _check_leaving(settings: PredictSettings, examples: Sequence[Example]) -> None:
    """Raise `ConfigError` where clinical text would be sent to another machine without leave."""
    clinical = find_clinical([settings.data], examples)
    try:
        if clinical:
            allowed = settings.allow_clinical_text_to_leave
            check_leaving(clinical, _list_urls(settings), allowed, "ask a server on this machine")
    except ValueError as error:
        raise ConfigError(f"base_url: {error}") from None


def _list_urls(settings: PredictSettings) -> list[str]:
    return [settings.base_url] if isinstance(settings.base_url, str) else settings.base_url or []


def _build_cutter(settings: PredictSettings, kind: str, checkpoint: Checkpoint | None, way: str) -> Cutter:
    context = checkpoint.context if checkpoint else 0
    context = min(context, LONGEST_CONTEXT) if kind == "vllm" else context
    budget = choose_budget(way, settings.max_text_tokens, checkpoint, context, settings.max_tokens)
    if way == "chunks" and 2 * settings.overlap_tokens > budget:
        raise ConfigError(
            f"overlap_tokens: {settings.overlap_tokens} is more than half of a chunk of {budget} tokens; lower it"
        )
    folder = checkpoint.path if checkpoint else None
    return build_cutter(way, budget, settings.overlap_tokens, settings.sections, settings.tokenizer or folder)


def _describe(
    settings: PredictSettings, kind: str, examples: Sequence[Example], counts: str, cutters: Sequence[Cutter]
) -> None:
    """Print what a run would do."""
    print(f"would answer {len(examples):,} examples ({counts}) with {kind}, limited to codes: {settings.constrained}")
    if settings.ranking != "none":
        print(f"would rank {settings.n_ranked} codes by {settings.ranking}, {settings.n_samples} answers a text")
    for cutter in cutters:
        if cutter.way != "whole":
            print(f"would cut {cutter.n_cut:,} of the texts ({cutter.way}), so that {cutter.n_parts:,} texts are asked")
    print(f"would write {settings.output} and {settings.output.with_name('run.json')}")
    restricted = inherit_header(settings.data)["restricted"]
    first = f"{examples[0].text[:_SHOWN]!r} -> {', '.join(examples[0].codes)}"
    print(f"first: {'(restricted, not shown)' if restricted else first}")


def _build_header(settings: PredictSettings, kind: str, codes: CodeSet, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """Return the run header, with what `eval.predictions` promises to readers."""
    inputs = [settings.data, *([settings.code_file] if settings.code_file else [])]
    if checkpoint:
        inputs += [checkpoint.path / "config.json", *checkpoint.weights]
    if isinstance(settings.floor_codes, Path):
        inputs += [settings.floor_codes]
    if settings.tokenizer:
        inputs += [settings.tokenizer / "tokenizer.json"]
    urls = ", ".join(_list_urls(settings))
    model = settings.model or settings.model_name or urls or f"{FLOORS.get(kind)} of {settings.floor_codes} codes"
    own = {"floor": "cosine", "search": "search"}.get(kind)
    return build_header(
        "eval.predict",
        settings.model_dump(mode="json"),
        inputs,
        codes.release,
        label=settings.label or (kind if own else f"{model}{'' if settings.constrained else ' (free)'}"),
        engine=kind,
        model=str(model),
        constrained=settings.constrained or kind in FLOORS,
        data=str(settings.data),
        model_release=checkpoint.release if checkpoint else None,
        score_source=own or settings.score,
        ranking_source=None if settings.ranking == "none" else own or settings.ranking,
    )


def _build_engine(settings: PredictSettings, kind: str, codes: CodeSet, examples: Sequence[Example]) -> Engine:
    if kind in FLOORS:
        from eval.floors.search import SearchFloor
        from eval.floors.titles import Floor

        known = examples if isinstance(settings.floor_codes, str) else read_examples(settings.floor_codes)
        candidates = None if settings.floor_codes == "all" else sorted({code for example in known for code in example.codes})
        n_ranked = 0 if settings.ranking == "none" else settings.n_ranked
        build = Floor if kind == "floor" else SearchFloor
        return build(codes, candidates, n_ranked=n_ranked, threshold=settings.floor_threshold)
    return build_engine(
        kind,
        model=settings.model,
        base_url=settings.base_url,
        model_name=settings.model_name,
        code_file=settings.code_file,
        constrained=settings.constrained,
        instruct=settings.instruct,
        max_tokens=settings.max_tokens,
        batch_size=settings.batch_size,
        dtype=settings.dtype,
        concurrency=settings.concurrency,
        timeout=settings.timeout,
        retries=settings.retries,
        patience=settings.patience,
        alternatives=Alternatives(settings.ranking, settings.n_samples, settings.seed),
        progress=False,
    )


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
