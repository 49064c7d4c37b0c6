"""Write a data set: codes and titles of one release, and the ways clinicians really write them.

    python -m data_gen.generate --config configs/demo/data.yaml
    python -m data_gen.generate --config configs/data/full.yaml --dry-run
    python -m data_gen.generate --config configs/data/llm.yaml --max-cost-usd 5
    python -m data_gen.generate --config configs/data/full.yaml --shard 2/4   # one of four jobs, on any machine
    python -m data_gen.generate --config configs/data/full.yaml --join       # when all four are done: the same data

Writes `train.parquet`, `validation.parquet`, `test.parquet`, `dataset_card.md` and `run.json` into `output_dir`.
The same configuration gives the same bytes of all but `run.json`, which holds the time and the versions of this run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

from pydantic import Field, FilePath, model_validator
from tqdm import tqdm

from data_gen.build import Builder, Built, build_examples
from data_gen.card import build_card, count_rows
from data_gen.examples import SPLITS, group_by_scenario, write_examples
from data_gen.folders import FolderPath, open_folder
from data_gen.plan import Plan
from data_gen.prior import check_priors
from data_gen.shards import Shard, ShardFolder, ShardNumber
from data_gen.writers.session import LLMWriter, describe_store, fill_store, keep_rejected, open_session, show_cost
from data_gen.writers.settings import Backend
from data_gen.writing import Propose
from icd10cm.codeset import CodeSet, add_dot
from icd10cm.config import load_settings
from icd10cm.entry import run_entry, say
from icd10cm.errors import ConfigError
from icd10cm.run_header import build_header, hash_file, write_json, write_text

_DRY_RUN_CODES = 500


class Settings(Plan, Backend):
    """What to generate, from which codes, and where to."""

    code_file: FilePath | None = Field(None, description="CMS code or order file; the embedded release when null")
    release: str | None = Field(
        None, coerce_numbers_to_str=True, description="name of the release; from the code file's name when null"
    )
    prefixes: list[str] | None = Field(None, min_length=1, description="only codes that begin with one of these; all when null")
    output_dir: FolderPath = Field(Path("outputs/data"), description="folder to write into")
    shard: Shard = Field(None, description="write only the variants of one of n equal parts of the codes, such as 2/4")
    join: bool = Field(False, description="join the parts that --shard wrote into the data set")
    dry_run: bool = Field(False, description="print counts, some rows or the price, write nothing")

    @model_validator(mode="after")
    def _check_what_rules_need(self) -> Self:
        if self.shard and self.join:
            raise ValueError("--shard writes one part and --join joins them; give one of the two")
        if self.backend == "openai" and (self.shard or self.join):
            raise ValueError("shards are for backend rules; one process asks a language model as fast as it may be asked")
        unused = [name for name in ("misspelling_files", "typo_severity", "index_files") if name in self.model_fields_set]
        if self.backend == "openai" and any(getattr(self, name) for name in unused):
            raise ValueError(f"{' and '.join(unused)} would have no effect: the model writes, not the rules")
        return self


def main(argv: Sequence[str] | None = None) -> int | None:
    """Generate the data set of a configuration."""
    settings = load_settings(Settings, argv, doc=__doc__, prog="data_gen.generate")
    codeset = CodeSet.load(settings.code_file, settings.release)
    codes = select_codes(codeset, settings.prefixes)
    check_priors(codeset, codes, settings)
    if codeset.release == "unknown":
        say(f"warning: the name of {settings.code_file} has no year, so nothing can warn of mixed releases; say --release")
    if settings.backend == "openai":
        return write_by_model(codeset, codes, settings)
    if settings.dry_run:
        show_plan(codeset, codes, settings)
    elif settings.shard:
        write_shard(codeset, codes, settings, settings.shard)
    else:
        write_folder(codeset, codes, settings)
    return None


def write_by_model(codeset: CodeSet, codes: Sequence[str], settings: Settings) -> int:
    """Ask a language model for what its store lacks, then write the data set; or print what that costs."""
    with open_session(codeset, codes, settings, settings, settings.output_dir, read_only=settings.dry_run) as (tasks, store):
        if settings.dry_run:
            show_cost(tasks, store, settings.max_cost_usd, settings.batch)
            return 0
        with keep_rejected(tasks, store) as rows:
            status = fill_store(tasks, store, settings.max_cost_usd, settings.batch)
            if not status:
                built = write_folder(codeset, codes, settings, LLMWriter(tasks, store), llm=describe_store(tasks, store))
                rows.extend(row for split in SPLITS for row in built.examples[split])
            return status


def write_folder(
    codeset: CodeSet, codes: Sequence[str], settings: Settings, propose: Propose | None = None, **facts: Any
) -> Built:
    """Write the data set into `output_dir`, its variants by the rules or by `propose`; `facts` go into `run.json`."""
    builder = Builder(codeset, codes, settings)
    with open_folder(settings.output_dir) as scratch:
        if settings.join:
            variants = ShardFolder(settings.output_dir, codeset, codes, settings).read_all()
        else:
            variants = builder.write_variants(codes, show_progress(codes), propose)
        built = builder.assemble(variants)
        write_files(scratch, codeset, codes, settings, built, **facts)
    say(f"wrote {sum(map(len, built.examples.values())):,} examples of {len(codes):,} codes to {settings.output_dir}")
    return built


def write_shard(codeset: CodeSet, codes: Sequence[str], settings: Settings, shard: ShardNumber) -> None:
    """Write the variants of one part of the codes, unless they are there."""
    parts = ShardFolder(settings.output_dir, codeset, codes, settings)
    if parts.holds(shard):
        say(f"{parts.find_path(shard)} is already written with these settings")
        return
    chosen = shard.select(codes)
    path = parts.write(shard, Builder(codeset, codes, settings).write_variants(chosen, show_progress(chosen)))
    say(f"wrote the variants of {len(chosen):,} codes, part {shard}, to {path}; --join joins all {shard.total}")


def show_progress(codes: Sequence[str]) -> Iterable[str]:
    """Return the codes with a progress bar that moves as they are taken."""
    return tqdm(codes, desc="variants", unit=" codes", mininterval=1, delay=1)


def select_codes(codeset: CodeSet, prefixes: Sequence[str] | None) -> Sequence[str]:
    """Return the billable codes that begin with any prefix, all for None. Raises `ConfigError` naming every empty prefix."""
    if prefixes is None:
        return codeset.codes
    empty = [prefix for prefix in prefixes if not any(code.startswith(add_dot(prefix)) for code in codeset.codes)]
    if empty:
        raise ConfigError(
            f"'prefixes': no billable code of release {codeset.release} begins with {', '.join(map(repr, empty))}; "
            "correct or remove what is wrong"
        )
    return codeset.select(prefixes)


def show_plan(codeset: CodeSet, codes: Sequence[str], settings: Settings) -> None:
    """Print what a run would write, and a few of its rows."""
    sample = codes[:: -(-len(codes) // _DRY_RUN_CODES)]
    built = build_examples(codeset, sample, settings)
    print(f"{len(codes):,} billable codes of release {codeset.release} ({codeset.source}) -> {settings.output_dir}")
    if len(sample) < len(codes):
        factor = len(codes) / len(sample)
        print(
            f"counts of {len(sample):,} codes spread over the slice; all but multiple are {factor:.1f} times as many in the run"
        )
    print(count_rows(built.examples))
    for scenario, group in group_by_scenario(built.examples["train"]).items():
        for example in group[:: -(-len(group) // 3)]:
            print(f"{scenario:12}{', '.join(example.codes):24}{example.text!r}")


def write_files(folder: Path, codeset: CodeSet, codes: Sequence[str], settings: Settings, built: Built, **facts: Any) -> None:
    """Write the data set, its card and `run.json` into `folder`."""
    hashes = {}
    for split in SPLITS:
        path = folder / f"{split}.parquet"
        write_examples(path, built.examples[split])
        hashes[path.name] = hash_file(path)
    write_text(folder / "dataset_card.md", build_card(codeset, codes, settings, built, hashes))
    header = build_header(
        "data_gen.generate",
        settings.model_dump(mode="json"),
        [*([settings.code_file] if settings.code_file else []), *settings.list_files()],
        codeset.release,
        outputs=hashes,
        code_source=codeset.source,
        n_codes=len(codes),
        **facts,
    )
    write_json(folder / "run.json", header)


def run(argv: Sequence[str] | None = None) -> int:
    """Run `main` as an entry: one-line errors, exit status 2."""
    return run_entry(main, argv)


if __name__ == "__main__":
    raise SystemExit(run())
