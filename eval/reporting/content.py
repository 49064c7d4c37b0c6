"""Everything a report shows, once, as plain values: the page, the CSV, the JSON and the model card are drawn from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from eval.reporting import breakdowns, mistakes, sureness, tables
from eval.reporting.columns import (
    HEADLINE,
    Column,
    choose_headline,
    compare_to_floor,
    find_differences,
    find_floor,
    find_main,
    join_words,
    number_series,
)
from eval.reporting.measures import describe_measure, list_measures, show_value
from eval.reporting.pairs import build_pair
from eval.reporting.restriction import list_restricted
from icd10cm.codeset import CodeSet

SCHEMA_VERSION = 1
THRESHOLDED = ("exact_match", "micro_precision", "micro_recall", "micro_f1", "macro_f1")
"""Rates that are shown of the codes above a threshold; the CSV has them all."""


class Wishes(NamedTuple):
    """What the reader of a report wants to see.

    Attributes:
        title: heading of the page.
        n_examples: mistakes to show per scenario and column.
        n_confusions: pairs of categories to show per column.
        show_texts_of: restricted corpora whose texts may be shown.
    """

    title: str = "How well it writes ICD-10-CM codes"
    n_examples: int = 5
    n_confusions: int = 15
    show_texts_of: Sequence[str] = ()


def build_content(
    columns: Sequence[Column],
    codes: CodeSet,
    wishes: Wishes,
    pairs: Sequence[Mapping[str, Any]] = (),
    runs: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return everything the report shows.

    Args:
        columns: what is compared.
        codes: the release that has the titles.
        wishes: what to show.
        pairs: of `eval.reporting.pairs.read_pairs`.
        runs: of `eval.reporting.training.read_runs`.
    """
    main, headline = find_main(columns), choose_headline(columns)
    restricted = list_restricted([column.scores["header"] for column in columns])
    asked = {name.strip().lower() for name in wishes.show_texts_of}
    shown_pairs = [build_pair(pair, wishes.n_examples, wishes.show_texts_of) for pair in pairs]
    examples = mistakes.build_examples(columns, codes, wishes.n_examples, wishes.show_texts_of)
    everywhere = list_measures([column.scores["overall"] for column in columns])
    return {
        "schema_version": SCHEMA_VERSION,
        "title": wishes.title,
        "columns": [describe_column(column, name) for column, name in zip(columns, number_series(columns), strict=True)],
        "main": main.label,
        "headline": {"metric": headline, "name": describe_measure(headline).name, "text": describe_measure(headline).text},
        "findings": build_findings(columns, headline, shown_pairs),
        "restricted": {"corpora": restricted, "shown": bool(asked & set(restricted))},
        "scenarios": tables.build_rows(columns, headline),
        "references": {
            "variants": tables.build_variant_references(columns),
            "corpus": tables.build_corpus_references(columns),
        },
        "answers": tables.build_measures(columns, "answers", lambda column: column.scores["overall"]),
        "codes": tables.build_both_sets(columns),
        "ranking": tables.build_measures(columns, "ranking", lambda column: column.scores["overall"]),
        "thresholded": build_thresholded(columns),
        "breakdowns": breakdowns.build_breakdowns(columns),
        "calibration": sureness.build_calibration(columns),
        "pairs": shown_pairs,
        "kinds": mistakes.build_kinds(columns),
        "oddities": tables.build_oddities(columns),
        "confusions": mistakes.build_confusions(columns, codes, wishes.n_confusions),
        "examples": examples,
        "training": list(runs),
        "definitions": [
            {"metric": key, "name": describe_measure(key).name, "text": describe_measure(key).text} for key in everywhere
        ],
        "every_rate": [
            {
                "metric": key,
                "name": describe_measure(key).name,
                "unit": describe_measure(key).unit,
                "rows": tables.build_rows(columns, key),
            }
            for key in everywhere
        ],
    }


def describe_column(column: Column, series: str) -> dict[str, Any]:
    """Return a column's label, colour and the facts of its run."""
    header, scoring = column.scores["header"], column.scores["scoring"]
    overall = column.scores["overall"]
    return {
        "label": column.label,
        "series": series,
        "is_floor": column.is_floor,
        "n": overall["n"],
        "n_patients": overall.get("n_patients"),
        "unit": scoring.get("unit") or "examples",
        "header": dict(header),
        "scoring": dict(scoring),
    }


def build_thresholded(columns: Sequence[Column]) -> dict[str, Any] | None:
    """Return the rates with codes kept above a threshold that was chosen on validation; None when no column has any."""
    chosen = [column for column in columns if column.scores.get("thresholded")]
    rows = tables.build_measures(chosen, None, lambda column: column.scores["thresholded"]["overall"])
    facts = ("threshold", "chosen_on", "validation_n", "validation_micro_f1")
    return (
        {
            "columns": [
                {"label": column.label, **{name: column.scores["thresholded"].get(name) for name in facts}} for column in chosen
            ],
            "rows": [row for row in rows if row["metric"] in THRESHOLDED],
        }
        if chosen
        else None
    )


def build_findings(columns: Sequence[Column], headline: str, pairs: Sequence[Mapping[str, Any]] = ()) -> list[dict[str, str]]:
    """Return in words what a reader should take away: a claim and what belongs to it, most important first."""
    main = find_main(columns)
    found = [_say_headline(columns, main, headline)]
    if against := compare_to_floor(columns, headline):
        floor = find_floor(columns)
        words = (("above", "clearly above in"), ("level", "not clearly apart in"), ("below", "clearly below in"))
        said = "; ".join(
            f"{word} {join_words([_spell(name) for name in against[side]])}" for side, word in words if against[side]
        )
        claim = f"Held against {floor.label if floor else 'the floor'}, which needs no training, {main.label} is {said}."
        found.append({"claim": claim, "detail": "Clearly: the two intervals do not touch."})
    found += [_say_pair(pair) for pair in pairs]
    found.append(_say_invalid(main))
    calibration = main.scores.get("calibration")
    coverage = sureness.get_figure(calibration, "coverage_at_95")
    if coverage is not None:
        found.append(
            {
                "claim": f"{show_value(coverage)} % of the codes of {main.label} can be kept so that 95 % of them are right.",
                "detail": "The surest first: what a coder could take over with one mistake in twenty.",
            }
        )
    if differences := find_differences(columns):
        claim = f"Take care: the columns differ in their {join_words(differences)}, so they can't be compared number by number."
        found.append({"claim": claim, "detail": ""})
    return found


def _say_headline(columns: Sequence[Column], main: Column, headline: str) -> dict[str, str]:
    first = next((column for column in columns if not column.is_floor), columns[0])
    rate = main.scores["overall"][headline]
    span = f"95 % interval: {show_value(rate['low'])} to {show_value(rate['high'])}."
    if headline == HEADLINE:
        claim = f"Over all texts, {main.label} gives exactly the right codes for {show_value(rate['value'])} %."
    else:
        claim = f"Over all notes, {main.label} reaches a {describe_measure(headline).name} of {show_value(rate['value'])} %."
    if first.label == main.label:
        return {"claim": claim, "detail": span}
    return {"claim": claim, "detail": f"{span} {first.label}: {show_value(first.scores['overall'][headline]['value'])} %."}


def _say_pair(pair: Mapping[str, Any]) -> dict[str, str]:
    claim = f"{pair['a']} alone gets {pair['only_a']:,} texts right, {pair['b']} alone {pair['only_b']:,}."
    share = show_value(pair["union"] / pair["n"])
    return {"claim": claim, "detail": f"Either of the two is right for {share} % of {pair['n']:,} texts."}


def _say_invalid(main: Column) -> dict[str, str]:
    overall, header = main.scores["overall"], main.scores["header"]
    rate = overall["invalid_rate"]["value"]
    claim = (
        f"{show_value(rate)} % of the answers of {main.label} hold a code that does not exist or cannot be submitted."
        if rate
        else f"No answer of {main.label} holds a code that does not exist or cannot be submitted."
    )
    constrained = header.get("constrained")
    said = "" if constrained is None else "Generation was kept to existing codes." if constrained else "Generation was free."
    return {"claim": claim, "detail": said}


def _spell(scenario: str) -> str:
    return scenario.replace("_", " ")
