"""Inputs that nobody should send, through the coding API: valid codes or a clear 4xx, never a 5xx, nobody else's text.

    icdtune api --model outputs/demo/stage2/model --requests-per-minute 10000000
    python benchmarks/serving_adversarial.py --url http://127.0.0.1:8080 --requests 10000

Every input carries a marker of its own, drawn at random. A response that holds another request's marker, an error that repeats
its own, a code that is none of the release, any status of 500 or more and any broken connection are counted as faults; the run
ends with status 1 when there is one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from serving_inputs import CODING, KINDS, MARKER, Case, make_cases

from icd10cm import CodeSet
from icd10cm.answers import drop_cut_code


def find_faults(case: Case, status: int, content_type: str, body: bytes, codes: CodeSet) -> list[str]:
    """Return what is wrong with a response, nothing where it holds valid codes only or is a clear refusal."""
    faults = []
    text = body.decode(errors="replace")
    others = set(MARKER.findall(text)) - {case.marker}
    if others:
        faults.append("holds another request's text")
    if status >= 500:
        return [*faults, f"status {status}"]
    if status >= 400:
        if case.marker in text:
            faults.append("error repeats what was sent")
        try:
            problem = json.loads(text)["error"]
            if not (problem["message"] and problem["code"] == status and problem["request_id"]):
                faults.append("error of another shape")
        except (ValueError, KeyError, TypeError):
            faults.append("error of another shape")
        return faults
    if status != 200:
        return [*faults, f"status {status}"]
    try:
        written = list_codes(case.path, content_type, text)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        return [*faults, f"answer cannot be read ({type(error).__name__})"]
    invalid = [code for code in written if code not in codes.headings or not codes.headings[code].billable]
    return [*faults, *(["holds an invalid code"] if invalid else [])]


def list_codes(path: str, content_type: str, text: str) -> list[str]:
    """Return every code of an answer, however it is written; of one that was cut off, those before the cut."""
    if path == CODING:
        content = json.loads(text)
        coded = [*content["codes"], *content["candidates"]]
        return [one["code"] for one in coded] + [other["code"] for one in coded for other in one["alternatives"]]
    if content_type.startswith("text/event-stream"):
        events = [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ") and line != "data: [DONE]"]
        if any("error" in event for event in events):
            raise ValueError("an error in the stream")
        choices = [choice for event in events for choice in event["choices"]]
        answers = [
            "".join(filter(None, (choice.get("text") or (choice.get("delta") or {}).get("content") for choice in choices)))
        ]
        ends = [choice["finish_reason"] for choice in choices if choice.get("finish_reason")][-1:] or ["stop"]
    else:
        choices = json.loads(text)["choices"]
        answers = [choice.get("text") or (choice.get("message") or {}).get("content") or "" for choice in choices]
        ends = [choice["finish_reason"] for choice in choices]
    whole = [drop_cut_code(answer) if end == "length" else answer for answer, end in zip(answers, ends, strict=False)]
    return [code.strip() for answer in whole for code in answer.split(",") if code.strip()]


async def send_all(
    url: str, cases: Iterator[Case], codes: CodeSet, clients: int = 64, key: str = "", transport: Any = None
) -> tuple[dict[str, Counter[str]], list[tuple[Case, str]]]:
    """Send every case, so many at a time; returns statuses by kind, and each fault with its case."""
    import httpx

    statuses: dict[str, Counter[str]] = defaultdict(Counter)
    faults: list[tuple[Case, str]] = []
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)

    async def work(client: httpx.AsyncClient) -> None:
        for case in cases:  # shared by all: each takes the next one
            try:
                reply = await client.post(case.path, content=case.body, headers={"Content-Type": case.content_type})
            except httpx.HTTPError as error:
                statuses[case.kind]["no answer"] += 1
                faults.append((case, type(error).__name__))
                continue
            statuses[case.kind][str(reply.status_code)] += 1
            found = find_faults(case, reply.status_code, reply.headers.get("content-type", ""), reply.content, codes)
            faults.extend((case, fault) for fault in found)

    async with httpx.AsyncClient(
        base_url=url, headers=headers, limits=limits, timeout=180, transport=transport, trust_env=False
    ) as client:
        await asyncio.gather(*(work(client) for _ in range(clients)))
    return statuses, faults


def main() -> int:
    """Print a table of kinds and statuses, and every fault."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="the coding API (default: %(default)s)")
    parser.add_argument("--key", default="", help="API key, where one is wanted")
    parser.add_argument("--requests", type=int, default=10_000, help="how many (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=64, help="at a time (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=7)
    settings = parser.parse_args()
    codes = CodeSet.load()
    started = time.perf_counter()
    cases = make_cases(settings.requests, settings.seed)
    statuses, faults = asyncio.run(send_all(settings.url.rstrip("/"), cases, codes, settings.clients, settings.key))
    seconds = time.perf_counter() - started
    print_table(statuses)
    n = sum(count.total() for count in statuses.values())
    print(f"\n{n:,} requests by {settings.clients} clients in {seconds:.0f} s, {len(faults)} faults")
    for case, fault in faults[:40]:
        print(f"  {case.kind}, {case.path}: {fault}; sent {case.body[:120]!r}")
    return 1 if faults else 0


def print_table(statuses: dict[str, Counter[str]]) -> None:
    """Print how often each kind of input had each status, as Markdown."""
    columns = sorted({status for count in statuses.values() for status in count})
    print(f"| input | requests | {' | '.join(columns)} |")
    print(f"|---|---|{'---|' * len(columns)}")
    for kind in KINDS:
        count = statuses.get(kind, Counter())
        print(f"| {kind} | {count.total():,} | {' | '.join(str(count[status] or '') for status in columns)} |")


if __name__ == "__main__":
    raise SystemExit(main())
