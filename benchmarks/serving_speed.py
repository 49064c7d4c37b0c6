"""What the constraint costs a server: phrases per second and the first request, with it and without, in one run.

    python benchmarks/serving_speed.py
    python benchmarks/serving_speed.py --model outputs/demo/stage2/model --rounds 5 --output serving_speed.json

A real vLLM server answers the titles of seeded codes for 64 concurrent clients. Kinds of requests take turns, and the median of
the rounds counts, of the ratio too: it is that of each round, as other work on the machine changes from round to round. The
server's own processor time per phrase is given besides, which other work disturbs less. Every answer has exactly `--tokens`
tokens: `ignore_eos` and `min_tokens` keep all kinds writing, so that the constrained answers are lists of codes and the mask is
at work up to the last code for which there is room. vLLM's own `structured_outputs` stand beside it for the record, with fewer
requests: the regular expression of lists of codes, and the codes as a `choice`, which writes one code only.

The first request is timed on a server that has answered nothing but `/health`, constrained and not, on one start each.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

import httpx
import psutil

from icd10cm import CodeSet
from icd10cm.code_regex import build_regex
from icd10cm.entry import interrupt_when_terminated
from serving.command import ServeSettings, build_launch
from serving.process import check_settings, find_free_port, stop_process

N_CLIENTS = 64
FREE, KEPT, REGEX, CHOICE = "unconstrained", "constrained", "vLLM regex", "vLLM choice"
_OFF = {"vllm_xargs": {"constrain": "off"}}


class Round(NamedTuple):
    """Phrases per second, mean tokens per answer, and milliseconds of the server's processor time per phrase."""

    rate: float
    tokens: float
    cpu_ms: float


class Target(NamedTuple):
    """A server: its address, the seconds until it answered `/health`, and its first process."""

    url: str
    seconds: float
    process: psutil.Process

    def read_cpu(self) -> float:
        """Return the seconds of processor time that all of its processes have used."""
        return sum(sum(one.cpu_times()[:2]) for one in (self.process, *self.process.children(recursive=True)))


def main() -> None:
    """Print the table, and with `--output` write it as JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("outputs/demo/stage2/model"), help="checkpoint folder")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each kind (default: 5)")
    parser.add_argument("--phrases", type=int, default=384, help="phrases in a round (default: 384)")
    parser.add_argument("--tokens", type=int, default=24, help="tokens of every answer (default: 24)")
    parser.add_argument("--skip-grammars", action="store_true", help="leave out vLLM's own regex and choice")
    parser.add_argument("--output", type=Path, help="JSON file for the figures")
    settings = parser.parse_args()
    codes = CodeSet.load()
    texts = [codes.title(code) for code in random.Random(7).sample(codes.codes, settings.phrases)]
    exact = {"max_tokens": settings.tokens, "min_tokens": settings.tokens, "ignore_eos": True}
    kinds: dict[str, dict[str, Any]] = {FREE: exact | _OFF, KEPT: exact}
    first: dict[str, float] = {}
    with start_cold(settings.model) as target:
        print(f"vLLM answers /health {target.seconds:.1f} s after its start", file=sys.stderr)
        first[FREE] = asyncio.run(ask(target, texts[:1], kinds[FREE], 1))[1]
    with start_cold(settings.model) as target:
        first[KEPT] = asyncio.run(ask(target, texts[:1], kinds[KEPT], 1))[1]
        for options in kinds.values():
            asyncio.run(ask(target, texts, options, N_CLIENTS))
        found = measure(target, texts, kinds, settings.rounds)
    if not settings.skip_grammars:
        with start_cold(settings.model, guarded=False) as target:
            measured, slow = measure_grammars(target, texts, codes, exact)
        found |= measured
        first |= slow
    print_table(found, first)
    if settings.output:
        figures = {kind: [one._asdict() for one in rounds] for kind, rounds in found.items()}
        settings.output.write_text(
            json.dumps({"rounds": figures, "first_request_seconds": first, "ratios": find_ratios(found)}, indent=1) + "\n"
        )


def measure(target: Target, texts: Sequence[str], kinds: dict[str, dict[str, Any]], n_rounds: int) -> dict[str, list[Round]]:
    """Return the rounds of each kind; kinds take turns, and who goes first changes."""
    found: dict[str, list[Round]] = {kind: [] for kind in kinds}
    for number in range(n_rounds):
        for kind in sorted(kinds, reverse=number % 2 == 1):
            found[kind].append(asyncio.run(ask(target, texts, kinds[kind], N_CLIENTS))[0])
            print(
                f"round {number + 1}: {kind}: {found[kind][-1].rate:.1f} phrases/s, {found[kind][-1].cpu_ms:.1f} ms",
                file=sys.stderr,
            )
    return found


def measure_grammars(
    target: Target, texts: Sequence[str], codes: CodeSet, exact: dict[str, Any]
) -> tuple[dict[str, list[Round]], dict[str, float]]:
    """Return three short rounds of each of vLLM's own ways, and the seconds of the first request of each."""
    bodies = {
        REGEX: exact | _OFF | {"structured_outputs": {"regex": build_regex(codes.codes)}},
        CHOICE: {"max_tokens": 24} | _OFF | {"structured_outputs": {"choice": list(codes.codes)}},
    }
    found, first = {}, {}
    for kind, options in bodies.items():
        few = texts[:N_CLIENTS] if kind == REGEX else texts[:16]
        first[kind] = asyncio.run(ask(target, few[:1], options, 1))[1]
        found[kind] = [asyncio.run(ask(target, few, options, N_CLIENTS))[0] for _ in range(3)]
        print(f"{kind}: {found[kind][-1].rate:.1f} phrases/s", file=sys.stderr)
    return found, first


async def ask(target: Target, texts: Sequence[str], options: dict[str, Any], n_clients: int) -> tuple[Round, float]:
    """Send one request per text from `n_clients` at a time; returns the round and the seconds that it took."""
    waiting = iter(texts)
    n_tokens = 0

    async def send(client: httpx.AsyncClient) -> None:
        nonlocal n_tokens
        for text in waiting:
            body = {"model": "icdtune", "prompt": text, "temperature": 0} | options
            reply = await client.post(f"{target.url}/v1/completions", json=body)
            if reply.status_code != 200:
                raise SystemExit(f"HTTP {reply.status_code}: {reply.text[:300]}")
            n_tokens += reply.json()["usage"]["completion_tokens"]

    async with httpx.AsyncClient(timeout=600, limits=httpx.Limits(max_connections=n_clients)) as client:
        cpu, started = target.read_cpu(), time.perf_counter()
        await asyncio.gather(*(send(client) for _ in range(n_clients)))
        seconds, cpu = time.perf_counter() - started, target.read_cpu() - cpu
    return Round(len(texts) / seconds, n_tokens / len(texts), 1000 * cpu / len(texts)), seconds


@contextlib.contextmanager
def start_cold(model: Path, guarded: bool = True) -> Iterator[Target]:
    """Start a server that answers no request before ours; `guarded` by our middleware, which refuses formats this long.

    `serving.process.start_server` sends a first request itself, so that a user's is never the first.
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = ServeSettings(model=model, port=find_free_port("127.0.0.1", 18700), log_file=Path(folder, "vllm.log"))
        checkpoint, _ = check_settings(settings)
        command, environment = build_launch(settings, checkpoint)
        if not guarded:
            place = command.index("--middleware")
            command = [*command[:place], *command[place + 2 :]]
        url = f"http://127.0.0.1:{settings.port}"
        started = time.perf_counter()
        with settings.log_file.open("wb") as log:
            process = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        try:
            while True:
                with contextlib.suppress(httpx.HTTPError):
                    if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                        break
                if process.poll() is not None:
                    sys.exit(settings.log_file.read_text(errors="replace")[-2000:])
                time.sleep(0.2)
            yield Target(url, time.perf_counter() - started, psutil.Process(process.pid))
        finally:
            stop_process(process)


def find_ratios(found: dict[str, list[Round]]) -> tuple[float, float]:
    """Return medians over the rounds: phrases per second, and processor time, of constrained to unconstrained requests."""
    pairs = list(zip(found[KEPT], found[FREE], strict=True))
    return (
        statistics.median(kept.rate / free.rate for kept, free in pairs),
        statistics.median(kept.cpu_ms / free.cpu_ms for kept, free in pairs),
    )


def print_table(found: dict[str, list[Round]], first: dict[str, float]) -> None:
    """Print a line per kind, and how constrained requests compare with unconstrained ones."""
    print(f"{'requests':<16}{'phrases/s':>11}{'lowest':>9}{'highest':>9}{'rounds':>8}{'tokens':>8}{'CPU ms':>9}{'first s':>9}")
    for kind, rounds in found.items():
        rates = [one.rate for one in rounds]
        tokens = statistics.mean(one.tokens for one in rounds)
        middle = statistics.median(rates)
        print(
            f"{kind:<16}{middle:>11.1f}{min(rates):>9.1f}{max(rates):>9.1f}{len(rates):>8}{tokens:>8.1f}"
            f"{statistics.median(one.cpu_ms for one in rounds):>9.1f}{first[kind]:>9.2f}"
        )
    rate, cpu = find_ratios(found)
    print(
        f"\nconstrained to unconstrained, medians of the rounds: {rate:.1%} of the phrases/s, {cpu:.1%} of the processor time"
    )
    print(f"first constrained request: {first[KEPT] - first[FREE]:+.2f} s against an unconstrained one")


if __name__ == "__main__":
    with interrupt_when_terminated():
        main()
