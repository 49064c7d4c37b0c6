"""Many clients at once: are all answers there, whose they are, valid, and how long do they take?

    icdtune api --model outputs/demo/stage2/model --requests-per-minute 10000000
    python benchmarks/serving_load.py --url http://127.0.0.1:8080

5,000 phrases and 500 notes at 64 clients, each once through `/v1/coding` and once through plain `/v1/chat/completions`. Phrases
are titles as they come, or the texts of `--data` (parquet or JSONL with `text`); notes are made of several of them. Counted are
requests without an answer, answers of another request (the id that is echoed; evidence that is not in the text), codes that
are none of the release, and, for some texts that were asked alone before, codes that differ from those alone. Ends with
status 1 when anything is lost, mixed up or invalid.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from serving_adversarial import list_codes
from serving_inputs import CHAT, CODING

from icd10cm import CodeSet


class Reply(NamedTuple):
    """What came back: status (0 for no answer), seconds, codes, and what is wrong with it."""

    status: int
    seconds: float
    codes: tuple[str, ...] = ()
    is_mixed: bool = False
    n_invalid: int = 0


class Row(NamedTuple):
    """One row of the table."""

    name: str
    replies: list[Reply]
    seconds: float
    n_compared: int
    n_differing: int


def main() -> int:
    """Print a table of what was asked and what came back."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the coding API (default: %(default)s)")
    parser.add_argument("--key", default="", help="API key, where one is wanted")
    parser.add_argument("--data", type=Path, help="parquet or JSONL with `text`; titles of the release when left out")
    parser.add_argument("--phrases", type=int, default=5_000)
    parser.add_argument("--notes", type=int, default=500)
    parser.add_argument("--clients", type=int, default=64, help="at a time (default: %(default)s)")
    parser.add_argument(
        "--alone", type=int, default=50, help="texts of each kind that are asked alone too (default: %(default)s)"
    )
    parser.add_argument("--no-evidence", action="store_true", help="do not ask /v1/coding for evidence")
    parser.add_argument("--seed", type=int, default=7)
    settings = parser.parse_args()
    codes = CodeSet.load()
    rows = asyncio.run(run_all(settings, codes))
    print_table(rows)
    lost = sum(is_lost(reply) for row in rows for reply in row.replies)
    wrong = sum(reply.is_mixed or reply.n_invalid > 0 for row in rows for reply in row.replies)
    return 1 if lost or wrong else 0


async def run_all(settings: argparse.Namespace, codes: CodeSet) -> list[Row]:
    """Ask everything, and return a row for each kind of text and each route."""
    import httpx

    drawn = random.Random(settings.seed)
    pool = read_texts(settings.data) if settings.data else [codes.title(code) for code in codes.codes]
    texts = {"phrases": [drawn.choice(pool) for _ in range(settings.phrases)]}
    texts["notes"] = [make_note(drawn, pool, number) for number in range(settings.notes)]
    headers = {"Authorization": f"Bearer {settings.key}"} if settings.key else {}
    limits = httpx.Limits(max_connections=settings.clients, max_keepalive_connections=settings.clients)
    rows = []
    async with httpx.AsyncClient(
        base_url=settings.url.rstrip("/"), headers=headers, limits=limits, timeout=300, trust_env=False
    ) as client:
        for kind, listed in ((kind, listed) for kind, listed in texts.items() if len(listed) > 1):
            for path in (CODING, CHAT):
                few = drawn.sample(range(len(listed)), min(settings.alone, len(listed)))
                alone = {place: await ask(client, path, listed[place], codes, not settings.no_evidence) for place in few}
                started = time.perf_counter()
                replies = await ask_all(client, path, listed, codes, settings)
                seconds = time.perf_counter() - started
                differing = sum(replies[place].codes != reply.codes for place, reply in alone.items())
                rows.append(Row(f"{kind} through `{path}`", replies, seconds, len(alone), differing))
    return rows


async def ask_all(client: Any, path: str, texts: Sequence[str], codes: CodeSet, settings: argparse.Namespace) -> list[Reply]:
    """Return the replies in the order of the texts."""
    from tqdm import tqdm

    replies: dict[int, Reply] = {}
    with tqdm(total=len(texts), desc=path, leave=False) as bar:

        async def work(left: Iterator[tuple[int, str]]) -> None:
            for place, text in left:
                replies[place] = await ask(client, path, text, codes, not settings.no_evidence)
                bar.update()

        left = iter(enumerate(texts))
        await asyncio.gather(*(work(left) for _ in range(settings.clients)))
    return [replies[place] for place in range(len(texts))]


async def ask(client: Any, path: str, text: str, codes: CodeSet, evidence: bool) -> Reply:
    """Return the reply to one text."""
    import httpx

    name = f"{random.getrandbits(64):016x}"
    body = (
        {"text": text, "id": name, "evidence": evidence}
        if path == CODING
        else {"messages": [{"role": "user", "content": text}]}
    )
    started = time.perf_counter()
    try:
        reply = await client.post(path, json=body)
    except httpx.HTTPError:
        return Reply(0, time.perf_counter() - started)
    seconds = time.perf_counter() - started
    if reply.status_code != 200:
        return Reply(reply.status_code, seconds)
    written = tuple(list_codes(path, reply.headers["content-type"], reply.text))
    invalid = sum(code not in codes.headings or not codes.headings[code].billable for code in written)
    is_mixed = path == CODING and not fits(reply.json(), name, text)
    return Reply(200, seconds, written, is_mixed, invalid)


def fits(answer: dict[str, Any], name: str, text: str) -> bool:
    """Whether an answer is that of this request: its id, and words that are in the text where it says they are."""
    spans = [span for coded in (*answer["codes"], *answer["candidates"]) for span in coded["evidence"]]
    return answer["id"] == name and all(text[span["start"] : span["end"]] == span["text"] for span in spans)


def make_note(drawn: random.Random, pool: Sequence[str], number: int) -> str:
    """Return a note of some phrases."""
    now, before = (drawn.sample(pool, drawn.randrange(2, 6)) for _ in range(2))
    plan = "\n".join(f"{place}. {one}" for place, one in enumerate(now, 1))
    past = "\n".join(before)
    return (
        f"HISTORY OF PRESENT ILLNESS:\nPatient {number} is here for {now[0]}. Denies fever.\n\n"
        f"PAST MEDICAL HISTORY:\n{past}\n\nASSESSMENT AND PLAN:\n{plan}\n"
    )


def read_texts(path: Path) -> list[str]:
    """Return the column `text`."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path, columns=["text"]).column("text").to_pylist()
    return [json.loads(line)["text"] for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def is_lost(reply: Reply) -> bool:
    """Whether there is neither an answer nor a clear refusal, such as that of a note too long for plain chat."""
    return reply.status == 0 or reply.status >= 500


def print_table(rows: Sequence[Row]) -> None:
    """Print the rows as Markdown, and statuses other than 200."""
    columns = ("texts", "requests", "refused (4xx)", "lost", "mixed up", "invalid codes", "other codes than alone", "p50",
               "p95", "p99", "requests/s")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    for name, replies, seconds, n_compared, n_differing in rows:
        times = sorted(reply.seconds for reply in replies)
        p50, p95, p99 = (statistics.quantiles(times, n=100)[percent - 1] for percent in (50, 95, 99))
        lost = sum(map(is_lost, replies))
        refused = sum(reply.status != 200 for reply in replies) - lost
        mixed, invalid = sum(reply.is_mixed for reply in replies), sum(reply.n_invalid for reply in replies)
        print(
            f"| {name} | {len(replies):,} | {refused} | {lost} | {mixed} | {invalid} | {n_differing} of {n_compared} "
            f"| {p50:.2f} s | {p95:.2f} s | {p99:.2f} s | {len(replies) / seconds:.1f} |"
        )
    statuses: Counter[int] = Counter(reply.status for row in rows for reply in row.replies if reply.status != 200)
    if statuses:
        print(f"\nnot answered, by status (0: no answer): {dict(statuses)}")


if __name__ == "__main__":
    raise SystemExit(main())
