"""Calibrate the confidence of a checkpoint on its predictions for validation examples; calibration.json beside the weights.

    python -m eval.predict --model outputs/demo/stage2/model --data outputs/demo/data/validation.parquet \
        --output outputs/demo/stage2/validation/predictions.jsonl
    icdtune calibrate outputs/demo/stage2/validation/predictions.jsonl --model outputs/demo/stage2/model

The model server tells it to the coding API, which gives calibrated confidence and, unless told otherwise, keeps the codes from
the threshold on at which as many of the validation codes were right as `target` says.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import DirectoryPath, Field, FilePath

from data_gen.examples import read_examples
from eval.reporting.reliability_picture import draw_reliability_picture
from eval.scoring.calibration import CALIBRATORS, Sure, collect_codes, describe
from eval.scoring.checks import Header, Run, read_run
from eval.scoring.choosing import FOLDS, choose_calibrator, choose_cut
from icd10cm.codeset import CodeSet
from icd10cm.config import Settings, load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import DataError
from icd10cm.run_header import hash_file, write_json
from serving.checkpoint import Checkpoint, check_checkpoint
from serving.coding.calibration import CALIBRATION_FILE, SCHEMA_VERSION, SOURCE, round_confidences
from serving.model_facts import hash_weights

_DIGITS = 6
_FEW = 300
"""Codes below which a share of 95 % is uncertain by more than 2.5 points."""


class CalibrateSettings(Settings):
    """What to calibrate, and on what."""

    predictions: FilePath = Field(
        description="predictions.jsonl of eval.predict for validation examples, its run.json beside it"
    )
    model: DirectoryPath = Field(description="checkpoint folder that made them; calibration.json is written into it")
    target: float = Field(0.95, gt=0, lt=1, description="share of right codes that the threshold keeps to")
    calibrator: Literal["auto", "temperature", "isotonic"] = Field(
        "auto", description="auto: the one of less log loss under cross-validation"
    )
    data: FilePath | None = Field(None, description="examples that were answered; where the header says when omitted")
    code_file: FilePath | None = Field(None, description="CMS code file of the release; the embedded one when omitted")
    release: str | None = Field(None, description="name of that release; from the code file's name when omitted")
    seed: int = Field(0, ge=0, description="of the folds")
    dry_run: bool = Field(False, description="read, check and print everything, write nothing")


def main(argv: Sequence[str] | None = None) -> None:
    """Fit, print what came of it, and write the calibration with its picture."""
    settings = load_settings(CalibrateSettings, argv, doc=__doc__, prog="icdtune calibrate", positional="predictions")
    checkpoint = check_checkpoint(settings.model)
    run = read_run(settings.predictions, CodeSet.load(settings.code_file, settings.release), settings.data)
    for note in [*run.notes, *check_origin(run, checkpoint), *_compare_splits(run.header, settings.data)]:
        say(f"note: {run.path}: {note}")
    sure = collect_codes(run.predictions, SOURCE)
    content, before, after = build_calibration_file(run, sure, settings)
    content["model_sha256"] = hash_weights(checkpoint.weights)
    print(write_table(content))
    if not content["coverage"]:
        say(f"warning: at no confidence {settings.target:.0%} of the codes are right, so none will reach it; lower --target")
    elif content["n"] < _FEW:
        say(f"warning: {content['n']} codes are few: expect other shares elsewhere")
    output = settings.model / CALIBRATION_FILE
    if settings.dry_run:
        say(f"would write {output} and {output.with_suffix('.png').name}")
        return
    title = f"{content['n']:,} validation codes, ECE {content['ece_before']:.3f} before, {content['ece_after']:.3f} after"
    draw_reliability_picture(before["bins"], after["bins"], title, output.with_suffix(".png"))
    write_json(output, content)
    say(f"written: {output}, {output.with_suffix('.png').name}")


def build_calibration_file(
    run: Run, sure: Sure, settings: CalibrateSettings
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Return the content of `calibration.json` and the figures of `describe` before and after, the latter held out.

    Raises:
        DataError: nothing can be calibrated.
    """
    if not len(sure.right):
        raise DataError(f"{run.path}: no code has a score; predict with an engine that gives log-probabilities")
    try:
        fit = choose_calibrator(
            sure, list(CALIBRATORS) if settings.calibrator == "auto" else [settings.calibrator], settings.seed
        )
    except DataError as error:
        raise DataError(f"{run.path}: {error}") from None
    calibrated = sure._replace(confidences=round_confidences(fit.curve(sure.confidences)))
    cut = choose_cut(calibrated, settings.target)
    before, after = describe(sure), describe(sure._replace(confidences=fit.held_out))
    content = {
        "schema_version": SCHEMA_VERSION,
        "score_source": SOURCE,
        "calibrator": fit.curve.calibrator,
        "parameters": dict(fit.curve.parameters),
        "threshold": cut.threshold,
        "target_accuracy": settings.target,
        "coverage": round(cut.coverage, _DIGITS),
        "accuracy": round(cut.accuracy, _DIGITS),
        "n": len(sure.right),
        "n_examples": len(run.predictions),
        "ece_before": round(before["ece"], _DIGITS),
        "ece_after": round(after["ece"], _DIGITS),
        "folds": FOLDS,
        "log_loss": fit.log_losses,
        "release": run.header.get("release"),
        "prompt_version": run.header.get("prompt_version"),
        "predictions_sha256": hash_file(run.path),
    }
    return content, before, after


def check_origin(run: Run, checkpoint: Checkpoint) -> list[str]:
    """Refuse predictions of another model, or with scores of another kind; return a note where nothing says whose they are.

    Raises:
        DataError: they are of no use for this checkpoint.
    """
    source = run.header.get("score_source") or SOURCE
    if source != SOURCE or run.header.get("engine") in ("floor", "search"):
        raise DataError(
            f"{run.path}: scores are of the kind {source!r}; the coding API's are log-probabilities, so predict with a model "
            "and score: logprob"
        )
    known = run.header.get("inputs", {})
    made_by = {name: sha256 for name, sha256 in known.items() if name.endswith((".safetensors", ".bin"))}
    if not made_by:
        return ["the header does not say which weights answered (a server did), so they are taken for those of this checkpoint"]
    for file in checkpoint.weights:
        if hash_file(file) not in made_by.values():
            raise DataError(
                f"{run.path}: predictions of another model: {file} is not among the weights that its run.json names; "
                "predict the validation examples with this checkpoint"
            )
    return []


def write_table(content: dict[str, Any]) -> str:
    """Return what a person wants to know of a calibration, a few lines."""
    losses = ", ".join(f"{name} {loss:.4f}" for name, loss in content["log_loss"].items())
    parameters = content["parameters"]
    shape = f"T = {parameters['temperature']:g}" if "temperature" in parameters else f"{len(parameters['raw'])} points"
    return "\n".join([
        f"calibrator   {content['calibrator']} ({shape}; log loss under {content['folds']}-fold cross-validation: {losses})",
        f"ECE          {content['ece_before']:.3f} before, {content['ece_after']:.3f} after (held out)",
        f"threshold    {content['threshold']:.4f}: {content['coverage']:.1%} of {content['n']:,} codes reach it, "
        f"{content['accuracy']:.1%} of these are right (target {content['target_accuracy']:.0%})",
    ])  # fmt: skip


def _compare_splits(header: Header, data: Path | None) -> list[str]:
    """Return a warning where the examples are those that the model learned, or will be judged by."""
    source = data or Path(str(header.get("data") or ""))
    if not source.is_file():
        return []
    splits = sorted({example.split for example in read_examples(source)} - {"validation", ""})
    if not splits:
        return []
    return [
        f"{source} holds examples of the split {', '.join(splits)}: what is calibrated on them must not be judged by them, and "
        "on examples of the training a model is surer than elsewhere"
    ]


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
