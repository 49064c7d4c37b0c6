"""Write what a checkpoint of one release needs to learn the next: added and changed codes, with a rehearsal of the rest.

    icdtune update --from icd10cm_codes_2025.txt --model outputs/full/stage2/model
    icdtune update --from icd10cm_codes_2025.txt --to icd10cm_codes_2026.txt --model outputs/full/stage2/model --dry-run

Writes the folder that `data_gen.generate` writes and `sft.yaml` beside it, the stage that starts from the model, and prints
the command that trains it. A code that the new release lacks is never an answer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import DirectoryPath, Field, FilePath, NonNegativeInt, PositiveFloat, create_model
from tqdm import tqdm

from data_gen.build import Built, build_examples
from data_gen.card import build_card, count_rows
from data_gen.checks import BARE_NAME, PLAIN_NAME
from data_gen.examples import SPLITS, write_examples
from data_gen.folders import FolderPath
from data_gen.generate import open_folder, select_codes
from data_gen.lesson import Lesson, choose_codes, describe_lesson, write_former
from data_gen.plan import MultiplePlan, Plan
from data_gen.prior import check_priors
from data_gen.update_stage import STAGE_FILE, write_command, write_stage
from data_gen.variations import VARIATIONS
from icd10cm.codeset import CodeSet
from icd10cm.config import load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import CheckpointError, ConfigError
from icd10cm.releases import Comparison, compare
from icd10cm.run_header import build_header, hash_file, read_header, write_json, write_text

_SECTION = """
## Update from release {old} to {new}

Release {new} has {added:,} codes that {old} lacks, and lacks {deleted:,} that it has; {retitled:,} titles changed. The slice
holds {taught:,} codes to teach: {listed}. Beside them {rehearsed:,} codes that did not change are rehearsed, so that they
are not forgotten: drawn by chance, half of them from the categories of the codes taught. {former:,} rows are former titles
(`cms:former`), of codes that were retitled, or retired with exactly one successor. No row has a retired code for its answer.
"""


class _Update(Plan):
    from_release: str | None = Field(
        None, coerce_numbers_to_str=True, description="name of the old release; from its file's name when empty"
    )
    to: FilePath | None = Field(None, description="CMS code or order file of the new release; the embedded one when empty")
    to_release: str | None = Field(
        None, coerce_numbers_to_str=True, description="name of the new release; from its file's name when empty"
    )
    model: DirectoryPath = Field(description="checkpoint folder of the old release, to be taught the new one")
    prefixes: list[str] | None = Field(
        None, min_length=1, description="only codes that begin with one of these, as the model was trained; all when null"
    )
    rehearsal: float = Field(4.0, ge=0, description="unchanged codes rehearsed for each code taught")
    rehearsal_variants: NonNegativeInt = Field(
        1, description="variants per rehearsed code in train, for each variation, at most as many as a code taught has"
    )
    epochs: PositiveFloat = Field(12.0, description="epochs of the stage")
    learning_rate: PositiveFloat | None = Field(None, description="of the stage; half of what the model had last when null")
    output_dir: FolderPath = Field(Path("outputs/update"), description="folder to write into")
    dry_run: bool = Field(False, description="print counts, some rows and the command, write nothing")


# `from` is the word for it, and no word that a class body can say
Settings: Any = create_model(
    "Settings",
    __base__=_Update,
    **{"from": (FilePath, Field(description="CMS code or order file of the old release"))},  # type: ignore[call-overload]
)
"""Settings of `icdtune update`."""


def main(argv: Sequence[str] | None = None) -> None:
    """Write the data set and the stage of an update."""
    settings = load_settings(Settings, argv, doc=__doc__ or "", prog="icdtune update")
    old = CodeSet.load(getattr(settings, "from"), settings.from_release)
    new = CodeSet.load(settings.to, settings.to_release)
    trained = check_releases(settings.model, old, new)
    settings = follow_data(settings, trained)
    check_priors(new, new.codes, settings)
    comparison = compare(old, new)
    lesson = choose_codes(comparison, old, new, select_codes(new, settings.prefixes), settings.rehearsal, settings.seed)
    settings = plan_multiple(settings, lesson.n_taught)
    if settings.dry_run:
        built = build_update(new, lesson, settings)
        print(describe_lesson(comparison, lesson))
        print(count_rows(built.examples))
        print(f"would write {settings.output_dir}; then:\n  {write_command(settings.output_dir, trained)}")
        return
    with open_folder(settings.output_dir) as scratch:
        built = build_update(new, lesson, settings)
        write_files(scratch, old, new, comparison, lesson, settings, built)
        write_text(scratch / STAGE_FILE, write_stage(settings, trained, old.release, new.release))
    say(describe_lesson(comparison, lesson))
    say(f"wrote {sum(map(len, built.examples.values())):,} examples and {STAGE_FILE} to {settings.output_dir}; now train it:")
    print(write_command(settings.output_dir, trained))


def check_releases(model: Path, old: CodeSet, new: CodeSet) -> dict[str, Any]:
    """Return the run header of the checkpoint `model`.

    Raises:
        CheckpointError: it is no finished checkpoint, or of another release than `old`.
        ConfigError: a release has no name, or both have the same.
    """
    for release, flag in ((old.release, "--from-release"), (new.release, "--to-release")):
        if release == "unknown":
            raise ConfigError(f"the name of a code file lacks its year; give the release with {flag}")
    if old.release == new.release:
        raise ConfigError(f"both code files are of release {old.release}; there is nothing to update")
    if not any((model / name).is_file() for name in ("config.json", "adapter_config.json")):
        raise CheckpointError(f"{model}: not a checkpoint folder, it has no config.json")
    header = read_header(model / "run.json")
    if header.get("finished") is False:
        raise CheckpointError(f"{model}: its training was not finished; run finetune.sft to its end first")
    if header.get("release") != old.release:
        raise CheckpointError(
            f"{model}: was trained on release {header.get('release')}, but --from is release {old.release}; "
            "give the code file that the model was trained on"
        )
    return header


def follow_data(settings: Any, trained: Mapping[str, Any]) -> Any:
    """Return the settings with what the model's own data say, where their folder is there and nothing was said.

    With another seed, or another share of codes held out, a text that was held out from the model's training could come up
    in the training of the update.
    """
    run = Path(str((trained.get("settings") or {}).get("data") or "")) / "run.json"
    before = read_header(run).get("settings", {}) if run.is_file() else {}
    followed = ("seed", "prefixes", "held_out_codes")
    update = {key: before[key] for key in followed if before.get(key) is not None and key not in settings.model_fields_set}
    if update:
        say(f"as in the model's data, {run.parent}: {', '.join(f'{key} {value}' for key, value in update.items())}")
    return settings.model_copy(update=update)


def plan_multiple(settings: Any, n_taught: int) -> Any:
    """Return the settings with texts of several conditions, one per code taught, unless the user said how many."""
    if "multiple" in settings.model_fields_set:
        return settings
    held_out = -(-n_taught // 10)
    multiple = MultiplePlan.model_validate({"train": n_taught, "validation": held_out, "test": held_out})
    return settings.model_copy(update={"multiple": multiple})


def build_update(new: CodeSet, lesson: Lesson, settings: Any) -> Built:
    """Return the examples: those of a data set of all the codes, with fewer of what is only rehearsed, and former titles."""
    codes = lesson.codes
    progress = tqdm(codes, desc="variants", unit=" codes", mininterval=1, delay=1)
    rehearsed, written = set(lesson.rehearsed), Counter[tuple[str, str]]()
    built = build_examples(new, codes, settings, progress, taught=set(codes) - rehearsed)
    kept = []
    for example in built.examples["train"]:
        # which bare names a code has depends on the release: one that was held out from the model could come up here
        if example.source in (PLAIN_NAME, BARE_NAME) and example.codes[0] in rehearsed:
            continue
        if example.scenario in VARIATIONS and example.codes[0] in rehearsed:
            key = (example.scenario, example.codes[0])
            written[key] += 1
            if written[key] > settings.rehearsal_variants:
                continue
        kept.append(example)
    built.examples["train"][:] = [*kept, *write_former(new, lesson, built)]
    return built


def write_files(
    folder: Path, old: CodeSet, new: CodeSet, comparison: Comparison, lesson: Lesson, settings: Any, built: Built
) -> None:
    """Write the data set, its card and `run.json` into `folder`."""
    hashes = {}
    for split in SPLITS:
        path = folder / f"{split}.parquet"
        write_examples(path, built.examples[split])
        hashes[path.name] = hash_file(path)
    section = _SECTION.format(
        old=comparison.old,
        new=comparison.new,
        added=len(comparison.added),
        deleted=len(comparison.deleted),
        retitled=len(comparison.retitled),
        taught=lesson.n_taught,
        listed=", ".join(f"{len(codes):,} {reason}" for reason, codes in lesson.taught.items()),
        rehearsed=len(lesson.rehearsed),
        former=sum(example.source == "cms:former" for example in built.examples["train"]),
    )
    write_text(folder / "dataset_card.md", build_card(new, lesson.codes, settings, built, hashes) + section)
    files = [
        *settings.list_files(),
        getattr(settings, "from"),
        *([settings.to] if settings.to else []),
        settings.model / "run.json",
    ]
    header = build_header(
        "data_gen.update",
        settings.model_dump(mode="json"),
        files,
        new.release,
        from_release=old.release,
        outputs=hashes,
        code_source=new.source,
        n_codes=len(lesson.codes),
        n_taught=lesson.n_taught,
        n_rehearsed=len(lesson.rehearsed),
    )
    write_json(folder / "run.json", header)


def run(argv: Sequence[str] | None = None) -> int:
    """Run the entry and return its exit status."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
