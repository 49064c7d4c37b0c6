r"""Answer examples with a checkpoint, a served model or a retrieval floor; writes predictions that `eval.score` reads.

    python -m eval.predict --model outputs/demo/stage2/model --data outputs/demo/data/test.parquet \
        --output outputs/demo/stage2/predictions.jsonl
    python -m eval.predict --base-url http://127.0.0.1:8000/v1 --data test.parquet --output outputs/served/predictions.jsonl
    python -m eval.predict --engine floor --data test.parquet --output outputs/floor/predictions.jsonl
    python -m eval.predict --engine search --data test.parquet --output outputs/search/predictions.jsonl

Stopped at any moment, the same command goes on where it was; examples that failed are asked again. `run.json` stands beside
the predictions, and a run that differs from it in settings, data or model is refused.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, FilePath, NonNegativeInt, PositiveFloat, PositiveInt

from data_gen.examples import SCENARIOS, Example, group_by_scenario, read_examples
from eval.predictions import STATUSES, Prediction, build_prediction, open_appending, read_finished, write_line
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings, suggest_name
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError, DataError
from icd10cm.run_header import build_header, read_header, write_json, write_text
from serving.checkpoint import Checkpoint, check_checkpoint
from serving.engines import Engine, build_engine, choose_engine, compare_release

CHUNKS = {"transformers": 256, "vllm": 1024, "endpoint": 64, "floor": 512, "search": 512}
"""Engine to the examples answered between two writes: what a kill can cost."""

FLOORS = {"floor": "nearest title", "search": "first hit of the search"}
"""Engine that no model is needed for, to what it answers with."""

_CHANGEABLE = {"output", "batch_size", "concurrency", "timeout", "retries", "overwrite", "dry_run"}
"""Settings that may differ when a run goes on, since no answer depends on them."""


class PredictSettings(Settings):
    """What to answer, and who answers."""

    data: FilePath = Field(description="examples: parquet or JSONL")
    output: Path = Field(description="predictions file to write; its folder holds nothing else but their run.json")
    model: Path | None = Field(None, description="checkpoint folder")
    base_url: str | None = Field(None, description="URL of an OpenAI-compatible server (key: environment, OPENAI_API_KEY)")
    model_name: str | None = Field(None, description="name of the model on that server, where it has several")
    engine: Literal["auto", "transformers", "vllm", "endpoint", "floor", "search"] = Field(
        "auto", description="who generates; auto: a server where a URL is given, vLLM with a GPU, otherwise transformers"
    )
    constrained: bool = Field(True, description="let answers hold existing codes only")
    instruct: bool = Field(False, description="send the instruction as a system message, for models served without it")
    code_file: FilePath | None = Field(None, description="CMS code file of the release to use; the embedded one when empty")
    floor_codes: Literal["all", "data"] = Field(
        "all", description="codes that floor and search choose from: the whole release, or those that occur in the data"
    )
    scenarios: list[str] = Field([], description=f"only these of {', '.join(SCENARIOS)}; all when empty")
    limit: NonNegativeInt = Field(0, description="only the first examples of each scenario; 0 for all")
    label: str = Field("", description="short name for reports, such as `stage 2`; the model's when empty")
    max_tokens: PositiveInt = Field(256, description="most tokens an answer may have")
    dtype: str = Field("auto", description="auto, float32, bfloat16 or float16")
    batch_size: PositiveInt = Field(64, description="prompts at a time, for transformers")
    concurrency: PositiveInt = Field(32, description="requests at a time, for a server")
    timeout: PositiveFloat = Field(120.0, description="seconds to wait for one answer of a server")
    retries: NonNegativeInt = Field(4, description="how often a request to a server that failed in passing is sent again")
    overwrite: bool = Field(False, description="throw away what another run left in the output")
    dry_run: bool = Field(False, description="say what would be asked, ask nothing")


def main(argv: Sequence[str] | None = None) -> int | None:
    """Predict, or go on with an interrupted run."""
    settings = load_settings(PredictSettings, argv, doc=__doc__ or "", prog="python -m eval.predict")
    kind = settings.engine if settings.engine in FLOORS else choose_engine(settings.engine, settings.model, settings.base_url)
    examples = select_examples(read_examples(settings.data), settings.scenarios, settings.limit, settings.data)
    codes = CodeSet.load(settings.code_file)
    checkpoint = check_checkpoint(settings.model, codes.release) if settings.model and kind not in FLOORS else None
    for warning in [*(checkpoint.warnings if checkpoint else ()), *compare_releases(examples, codes, settings.data)]:
        say(f"warning: {warning}")
    counts = ", ".join(f"{scenario} {len(group):,}" for scenario, group in group_by_scenario(examples).items())
    if settings.dry_run:
        print(f"would answer {len(examples):,} examples ({counts}) with {kind}, limited to codes: {settings.constrained}")
        print(f"would write {settings.output} and {settings.output.with_name('run.json')}")
        print(f"first: {examples[0].text!r} -> {', '.join(examples[0].codes)}")
        return 0
    header = _build_header(settings, kind, codes, checkpoint)
    header["data_releases"] = sorted({example.release for example in examples if example.release})
    finished = _take_over(settings, header, {example.id for example in examples})
    started = time.monotonic()
    if len(finished) < len(examples):
        engine = _build_engine(settings, kind, codes, examples)
        if getattr(engine, "model", None):
            header["model"] = engine.model  # type: ignore[attr-defined]
        for warning in compare_release(engine, codes):
            say(f"warning: {warning}")
        header["model_release"] = getattr(engine, "release", None) or header["model_release"]
        write_json(settings.output.with_name("run.json"), header)
        finished |= _answer(settings.output, examples, finished, engine, codes)
    predictions = [finished[example.id] for example in examples]
    _write_in_order(settings.output, predictions)
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


def select_examples(examples: Sequence[Example], scenarios: Sequence[str], limit: int, source: Path) -> list[Example]:
    """Return the examples of `scenarios` (all when empty), the first `limit` of each (all for 0), in the order of the data.

    Raises:
        ConfigError: a scenario does not exist.
        DataError: nothing is left, or two examples have the same id.
    """
    for scenario in scenarios:
        if scenario not in SCENARIOS:
            raise ConfigError(f"'scenarios': no scenario {scenario!r}{suggest_name(scenario, SCENARIOS)}")
    seen: Counter[str] = Counter()
    selected: dict[str, Example] = {}
    for example in examples:
        if scenarios and example.scenario not in scenarios:
            continue
        seen[example.scenario] += 1
        if limit and seen[example.scenario] > limit:
            continue
        if example.id in selected:
            raise DataError(f"{source}: two examples have the id {example.id!r}; ids must differ")
        selected[example.id] = example
    if not selected:
        raise DataError(f"{source}: holds no example" + (f" of {', '.join(scenarios)}" if scenarios else ""))
    return list(selected.values())


def compare_releases(examples: Sequence[Example], codes: CodeSet, source: Path) -> list[str]:
    """Return a warning where examples are of another release than `codes`, or have right codes that nobody could answer."""
    others = sorted({example.release for example in examples} - {"", codes.release})
    n_lost = sum(not all(map(codes.is_billable, example.codes)) for example in examples)
    if not others and not n_lost:
        return []
    named = f"release {', '.join(others)}" if others else "no stated release"
    return [
        f"{source}: examples of {named}, but the codes of release {codes.release} are loaded; "
        f"{n_lost:,} of {len(examples):,} examples have a code that it lacks"
    ]


def _build_header(settings: PredictSettings, kind: str, codes: CodeSet, checkpoint: Checkpoint | None) -> dict[str, Any]:
    """Return the run header, with what `eval.predictions` promises to readers."""
    inputs = [settings.data, *([settings.code_file] if settings.code_file else [])]
    if checkpoint:
        inputs += [checkpoint.path / "config.json", *checkpoint.weights]
    model = settings.model or settings.model_name or settings.base_url or f"{FLOORS.get(kind)} of {settings.floor_codes} codes"
    return build_header(
        "eval.predict",
        settings.model_dump(mode="json"),
        inputs,
        codes.release,
        label=settings.label or (kind if kind in FLOORS else str(model)),
        engine=kind,
        model=str(model),
        constrained=settings.constrained or kind in FLOORS,
        data=str(settings.data),
        model_release=checkpoint.release if checkpoint else None,
    )


def _take_over(settings: PredictSettings, header: dict[str, Any], wanted: set[str]) -> dict[str, Prediction]:
    """Return by id the predictions that an earlier run of the same command left, without its failures.

    Raises:
        ConfigError: what is there was made otherwise; names the differences.
    """
    path, run = settings.output, settings.output.with_name("run.json")
    if settings.overwrite:
        path.unlink(missing_ok=True)
        run.unlink(missing_ok=True)
    if not path.exists():
        return {}
    differences = _compare(read_header(run), header) if run.is_file() else ["it has no run.json"]
    if differences:
        raise ConfigError(
            f"{path}: holds predictions of another run: {'; '.join(differences)}; choose another --output, or add --overwrite"
        )
    kept = {p.id: p for p in read_finished(path).predictions if p.status != "error" and p.id in wanted}
    # failures are asked again, so their lines must go before new ones are appended
    _write_in_order(path, list(kept.values()))
    say(f"{path}: {len(kept):,} of {len(wanted):,} are answered already")
    return kept


def _compare(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    differences = []
    for key in ("engine", "release", "prompt_version"):
        if before.get(key) != now[key]:
            differences.append(f"{key} {before.get(key)} there, {now[key]} here")
    there, here = before.get("settings", {}), now["settings"]
    for key in sorted((there.keys() | here.keys()) - _CHANGEABLE):
        if there.get(key) != here.get(key):
            differences.append(f"{key} {there.get(key)!r} there, {here.get(key)!r} here")
    if not differences:
        before_files, now_files = before.get("inputs", {}), now["inputs"]
        differences = [f"{name} has changed since" for name in sorted(now_files) if before_files.get(name) != now_files[name]]
    return differences


def _build_engine(settings: PredictSettings, kind: str, codes: CodeSet, examples: Sequence[Example]) -> Engine:
    if kind in FLOORS:
        from eval.floor import Floor
        from eval.search_floor import SearchFloor

        occurring = sorted({code for example in examples for code in example.codes})
        candidates = None if settings.floor_codes == "all" else occurring
        return Floor(codes, candidates) if kind == "floor" else SearchFloor(codes, candidates)
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
        progress=False,
    )


def _answer(
    path: Path, examples: Sequence[Example], finished: dict[str, Prediction], engine: Engine, codes: CodeSet
) -> dict[str, Prediction]:
    """Answer what is not finished, appending as it goes; returns the new predictions by id."""
    from tqdm import tqdm

    answered: dict[str, Prediction] = {}
    bar = tqdm(total=len(examples), initial=len(finished), desc=engine.name, unit="example")
    with bar, open_appending(path) as append:
        for chunk in split_chunks(examples, CHUNKS[engine.name]):
            missing = [example for example in chunk if example.id not in finished]
            if not missing:
                continue
            # A whole chunk is generated again where only part of it is missing, so that an answer, down to the last digit of
            # its score, does not depend on where a run was killed; a server, which may cost money, is not asked twice.
            asked = missing if engine.name == "endpoint" else chunk
            generations = engine.generate([example.text for example in asked])
            for example, generation in zip(asked, generations, strict=True):
                if example.id not in finished:
                    answered[example.id] = build_prediction(example, generation, codes)
                    append(answered[example.id])
            bar.update(len(missing))
    return answered


def split_chunks(examples: Sequence[Example], size: int) -> Iterator[list[Example]]:
    """Return the examples in chunks of `size`, texts of like length together; the same for the same examples."""
    order = sorted(examples, key=lambda example: (-len(example.text), example.id))
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _write_in_order(path: Path, predictions: Sequence[Prediction]) -> None:
    write_text(path, "".join(map(write_line, predictions)))


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
