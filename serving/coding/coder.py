"""Coder: a text in, its codes out, with confidence, evidence, alternatives and findings; by a model server.

coder = Coder("http://127.0.0.1:8000/v1")
await coder.start()
response = await coder.code(CodingRequest(text="T2DM w/ foot ulcer"), "request-1")
await coder.close()

Profiled, 300 phrases, 64 at once, a server that answers at once: 3 ms CPU a text, 12 to 16 with evidence (3.8 requests), most
of it httpx, some 2 ms a request. Pools of 4 connections instead of 8 took a fifth off that; httpx's transport without its
client only another tenth. Finding the pieces for evidence takes 4 ms for 1,000 characters, 25 ms for 4,000.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, TypeVar

from icd10cm.codeset import CodeSet
from icd10cm.config import suggest_name
from icd10cm.joined import SURE, choose_parts, list_parts
from icd10cm.rules import Checker
from icd10cm.tabular import Tabular
from serving.coding.alternatives import MOST_TOKENS
from serving.coding.answering import Answer, WrittenCode, merge_answers, read_generation
from serving.coding.assembling import Asked, build_response
from serving.coding.backend import Backend
from serving.coding.calibration import find_confidence
from serving.coding.errors import CodingFailure, TextTooLongError, UnknownModelError, UpstreamDownError
from serving.coding.evidence import LEAST_SUPPORT, Candidate, Reading
from serving.coding.facts import ModelCard, ServerFacts
from serving.coding.likeness import Lexicon
from serving.coding.models import CodingRequest, CodingResponse, LongText, ModelFacts, Span
from serving.coding.tasks import gather_all
from serving.coding.upstream import Upstream
from serving.long_notes import Cutter, Part
from serving.long_notes.tokens import estimate_tokens

T = TypeVar("T")

_SAMPLE = (
    "72 y/o man with T2DM, HTN and CKD stage 3, admitted with acute on chronic systolic heart failure. Denies chest pain. "
    "Hyperkalemia resolved."
)
"""Asked once of every model, to see how many tokens it makes of a text."""
_USUAL_WAY: LongText = "chunks"
_USUAL_RATIO, _USUAL_FRAME = 1.3, 96
"""Tokens for each one estimated, and tokens around a text, where a server does not tell."""
_KEPT = 0.8
"""Share of the room for a text that is used: estimates are only that."""
_LEAST_BUDGET = 8
_LONG = 2_000
"""Characters from which a text is cut and searched for evidence in a thread of its own."""
_MANY = 100
"""Codes from which the rules run in one."""


class Gauge(NamedTuple):
    """How much of a text a model takes at a time.

    Attributes:
        answer: tokens that an answer may have.
        budget: tokens that a text may have, estimated ones (`serving.long_notes.tokens.estimate_tokens`).
    """

    answer: int
    budget: int


class Coder:
    """Codes texts by asking a model server. One for each event loop.

    Attributes:
        facts: what the server says of itself; without models until it has answered once.
        codes: the release that answers are read against.
        n_rejected: what models wrote as codes that are none of the release, since the start.
    """

    def __init__(
        self,
        backend: str | Backend,
        *,
        api_key: str | None = None,
        codes: CodeSet | None = None,
        tabular: Tabular | None = None,
        threshold: float | None = None,
        long_text: LongText | None = None,
        timeout: float = 60.0,
        connections: int = 256,
        at_once: int = 16,
        max_parts: int = 64,
        max_evidence: int = 48,
    ):
        """Load the code set; the server is not asked yet.

        Args:
            backend: address of the model server, such as `http://127.0.0.1:8000/v1`, or who has the model instead.
            api_key: of the model server, where it wants one.
            codes: the release; the embedded one when None.
            tabular: its tabular list; the embedded one when None.
            threshold: least confidence of a code; that of the model's calibration when None, without one 0.
            long_text: what to do with texts that are longer than the model reads, where a request does not say; what the model
                says of itself when None, without that `chunks`.
            timeout: seconds for one request to the model server.
            connections: most requests to it at a time, of all texts together.
            at_once: most requests to it at a time for one text.
            max_parts: most parts that one text is read in; a longer one is refused.
            max_evidence: most requests for the evidence of one text; codes beyond have evidence by their words alone.

        Raises:
            ConfigError: the address is none.
        """
        self.facts = ServerFacts({})
        self.codes = codes or CodeSet.load()
        self.n_rejected = 0
        self._checker = Checker(self.codes, tabular)
        self._lexicon = Lexicon(self.codes, self._checker.knowledge.tabular)
        self._backend: Backend = (
            Upstream(backend, api_key=api_key, timeout=timeout, connections=connections)
            if isinstance(backend, str)
            else backend
        )
        self._threshold, self._long_text = threshold, long_text
        self._at_once, self._max_parts, self._max_evidence = at_once, max_parts, max_evidence
        self._gauges: dict[tuple[str, str | None], Gauge] = {}
        self._is_stale = True
        self._asking = asyncio.Lock()

    async def start(self) -> None:
        """Build what texts need, and ask the server what it has; one that is down is asked again with the first text."""
        await asyncio.to_thread(self.warm_up)
        try:
            await self.refresh()
        except CodingFailure:
            self._is_stale = True

    def warm_up(self) -> None:
        """Build what the first text would otherwise hold up the event loop for, about a second, by reading a sample."""
        answer = Answer(tuple(WrittenCode(code, None, spans=((0, len(_SAMPLE)),)) for code in self.codes.codes[:2]))
        reading = Reading(_SAMPLE, self._lexicon)
        evidence = {code: reading.choose(found, {}) for code, found in _list_candidates(reading, answer).items()}
        asked = Asked(ModelFacts(name="", sha256=None, prompt_version=None, engine=None))
        build_response(CodingRequest(text=_SAMPLE), "", answer, evidence, asked, self._checker)

    async def close(self) -> None:
        """End all connections."""
        await self._backend.close()

    async def refresh(self) -> ServerFacts:
        """Ask the server again what it has. Raises `CodingFailure`."""
        facts, own = await self._backend.read_facts(), self.codes.release
        others = [
            f"{card.name}: answers with the codes of release {card.release}, but those of release {own} are loaded"
            for card in facts.models.values()
            if card.release not in (None, own)
        ]
        self.facts = facts._replace(warnings=(*facts.warnings, *others))
        self._is_stale = False
        return self.facts

    def choose_way(self, card: ModelCard | None, wanted: LongText | None = None) -> LongText:
        """Return how long texts are read: as a request wants, as this coder was told, as the model says, or as usual."""
        return wanted or self._long_text or (card.long_text if card else None) or _USUAL_WAY

    async def is_ready(self) -> bool:
        """Whether the model server answers now."""
        return await self._backend.is_alive()

    async def code(self, request: CodingRequest, request_id: str) -> CodingResponse:
        """Return the codes of a text.

        Args:
            request: the text, and what is known of the patient.
            request_id: given back.

        Raises:
            CodingFailure: it could not be coded; its class says why.
        """
        try:
            card = await self._choose_model(request.model)
            parts, answer = await self._answer_text(card, request)
            evidence = await self._find_evidence(card, request, answer) if request.evidence else {}
        except (UpstreamDownError, UnknownModelError):
            # a server that comes back may have another model
            self._is_stale = True
            raise
        self.n_rejected += answer.n_rejected
        way = self.choose_way(card, request.long_text)
        asked = Asked(
            ModelFacts(name=card.name, sha256=card.sha256, prompt_version=card.prompt_version, engine=card.engine),
            card.calibration,
            self._threshold,
            len(parts),
            cut=way in ("truncate", "sections") and parts[0].text != request.text,
        )
        build = functools.partial(build_response, request, request_id, answer, evidence, asked, self._checker)
        return await _compute(build, away=len(answer.codes) > _MANY)

    async def _choose_model(self, name: str | None) -> ModelCard:
        async with self._asking:
            if self._is_stale:
                await self.refresh()
        models = self.facts.models
        if name is None and models:
            return next(iter(models.values()))
        if name is None or name not in models:
            raise UnknownModelError(f"no model {name!r}{suggest_name(name or '', models)}")
        return models[name]

    async def _answer_text(self, card: ModelCard, request: CodingRequest) -> tuple[list[Part], Answer]:
        """Return the parts that a text was read in, and the answer to it; smaller parts where they prove too long."""
        gauge = await self._find_gauge(card)
        way, budget = self.choose_way(card, request.long_text), gauge.budget
        n_others = MOST_TOKENS if request.alternatives else 0
        while True:
            cutter = Cutter(way, estimate_tokens, budget, overlap=budget // 8)
            parts = await _compute(functools.partial(cutter.locate, request.text), away=len(request.text) > _LONG)
            if len(parts) > self._max_parts and way == "conditions":
                way = _USUAL_WAY
                continue
            if len(parts) > self._max_parts:
                raise TextTooLongError(
                    f"the text comes to {len(parts)} parts of what the model reads at a time, more than {self._max_parts}; "
                    "send sections of it, or long_text: sections"
                )
            try:
                answers = await self._ask_parts(card, parts, gauge.answer, n_others)
                if way == "conditions":
                    parts, answers = await self._part_further(card, parts, answers, gauge.answer, n_others)
                return parts, merge_answers(answers)
            except TextTooLongError:
                if way == "whole" or budget <= _LEAST_BUDGET:
                    raise
                budget = max(_LEAST_BUDGET, min(budget, max(len(estimate_tokens(part.text)) for part in parts)) // 2)

    async def _ask_parts(self, card: ModelCard, parts: Sequence[Part], max_tokens: int, n_others: int) -> list[Answer]:
        async def ask(part: Part) -> Answer:
            reply = await self._backend.answer(card, part.text, max_tokens=max_tokens, n_others=n_others)
            return read_generation(reply.generation, part, self.codes, reply.tokens if n_others else ())

        return await self._gather([functools.partial(ask, part) for part in parts])

    async def _part_further(
        self, card: ModelCard, parts: Sequence[Part], answers: Sequence[Answer], max_tokens: int, n_others: int
    ) -> tuple[list[Part], list[Answer]]:
        """Return parts and answers, joined conditions apart where the model is surer of them so and that does not ask much."""
        smaller = [
            {span: part.take(*span) for span in list_parts(part.text)}
            if len(part.spans) == 1 and answer.confidence < SURE
            else {}
            for part, answer in zip(parts, answers, strict=True)
        ]
        wanted = [one for found in smaller for one in found.values()]
        if not 0 < len(wanted) <= self._max_parts:
            return list(parts), list(answers)
        asked = dict(zip(wanted, await self._ask_parts(card, wanted, max_tokens, n_others), strict=True))
        chosen: dict[Part, Answer] = {}
        for part, answer, found in zip(parts, answers, smaller, strict=True):
            sure = {span: asked[one].confidence for span, one in found.items()}
            best = choose_parts(part.text, sure, answer.confidence)
            chosen |= {found[span]: asked[found[span]] for span in best} if len(best) > 1 else {part: answer}
        return list(chosen), list(chosen.values())

    async def _find_gauge(self, card: ModelCard) -> Gauge:
        """Return how much of a text a model takes, by asking it once; a server that does not tell is taken for a usual one."""
        key = (card.name, card.sha256)
        async with self._asking:
            if key not in self._gauges:
                replies = [await self._backend.answer(card, text, max_tokens=1, n_others=0) for text in ("gout", _SAMPLE)]
                self._gauges[key] = _read_gauge(card, *(reply.n_prompt for reply in replies))
            return self._gauges[key]

    async def _find_evidence(self, card: ModelCard, request: CodingRequest, answer: Answer) -> dict[str, tuple[Span, ...]]:
        """Return the spans that each code comes from."""
        reading = Reading(request.text, self._lexicon)
        long = len(request.text) > _LONG
        listed = await _compute(functools.partial(_list_candidates, reading, answer), away=long)
        # where a text has one piece only, the answer itself says how probable the code is for it
        alone = {one.code: reading.read(listed[one.code][0]) for one in answer.codes if reading.is_alone(one, listed[one.code])}
        supports: dict[str, dict[str, float | None]] = {
            one.code: {alone[one.code]: find_confidence(one.score, None)} for one in answer.codes if one.code in alone
        }
        asked = {code: candidates for code, candidates in listed.items() if code not in alone}
        wanted = list(dict.fromkeys(self._list_questions(reading, asked)))[: self._max_evidence]
        measure = self._backend.measure_support
        found = await self._gather([functools.partial(measure, card, text, code) for text, code in wanted])
        for (text, code), support in zip(wanted, found, strict=True):
            supports.setdefault(code, {})[text] = support

        def choose() -> dict[str, tuple[Span, ...]]:
            return {
                code: reading.choose(candidates, supports.get(code, {}), 0.0 if code in alone else LEAST_SUPPORT)
                for code, candidates in listed.items()
            }

        return await _compute(choose, away=long)

    def _list_questions(self, reading: Reading, listed: dict[str, list[Candidate]]) -> list[tuple[str, str]]:
        """Return (piece, code) to be asked about: the best piece of every code first, then the second ones."""
        rounds = range(max(map(len, listed.values()), default=0))
        return [
            (reading.read(candidates[number]), code)
            for number in rounds
            for code, candidates in listed.items()
            if number < len(candidates)
        ]

    async def _gather(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Return all results in order, at most so many under way at a time for one text."""
        places = asyncio.Semaphore(self._at_once)

        async def wait(call: Callable[[], Awaitable[T]]) -> T:
            async with places:
                return await call()

        return await gather_all([wait(call) for call in calls])


async def _compute(work: Callable[[], T], *, away: bool) -> T:
    """Return what `work` does; in a thread where it would hold up the event loop."""
    return await asyncio.to_thread(work) if away else work()


def _list_candidates(reading: Reading, answer: Answer) -> dict[str, list[Candidate]]:
    """Return for each code the pieces that it may come from, and find where the text speaks of something absent."""
    if answer.codes:
        assert reading.scopes is not None
    return {written.code: reading.shortlist(written) for written in answer.codes}


def _read_gauge(card: ModelCard, small: int | None, large: int | None) -> Gauge:
    """Return how much of a text a model takes, by the tokens that the prompts of a word and of the sample have."""
    ratio, frame = _USUAL_RATIO, _USUAL_FRAME
    if small is not None and large is not None and large > small:
        ratio, frame = (large - small) / (len(estimate_tokens(_SAMPLE)) - 1), small
    answer = min(card.max_tokens, max(1, card.context // 3))
    return Gauge(answer, max(_LEAST_BUDGET, int(_KEPT * (card.context - answer - frame) / ratio)))
