"""Headers, finality and answers that several endpoints must give alike.

A quorum of k takes what k endpoints say in the same words; those who say otherwise are noted. Where no k
agree, Disagreement names who said what. Without a quorum headers are still held against what the reader has
been shown: an endpoint that shows another block under the same number is not believed alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Generic, TypeVar

from contracts.rpc.blocks import ask_header, header_judge, header_request
from contracts.rpc.connection import Outcome
from contracts.rpc.endpoint import Endpoint
from contracts.rpc.errors import Disagreement, NodeUnavailable, RpcError
from contracts.rpc.pool import Ask, NobodyAnswered, Pool, passes_on
from contracts.rpc.quantities import BlockReference, describe_block
from contracts.rpc.records import BlockHeader
from contracts.rpc.sight import MOVING_TAGS
from contracts.rpc.together import attempted

_T = TypeVar("_T")


class Ballot(Generic[_T]):
    """What endpoints have answered to one question; `key` makes answers comparable and short."""

    def __init__(self, pool: Pool, question: str, key: Callable[[_T], str]) -> None:
        self._pool = pool
        self._question = question
        self._key = key
        self.answers: list[tuple[Endpoint, _T]] = []
        self.errors: list[RpcError] = []

    async def ask(self, ask: Ask[_T], endpoints: Sequence[Endpoint]) -> None:
        """Ask these endpoints at once. Raises what concerns the request and not the endpoint."""
        answers = await attempted([ask(each) for each in endpoints])
        for endpoint, answer in zip(endpoints, answers, strict=True):
            if not isinstance(answer, RpcError):
                self.answers.append((endpoint, answer))
            elif passes_on(answer):
                self.errors.append(answer)
            else:
                raise answer

    def winner(self, votes: int, *, only: str | None = None) -> _T | None:
        """Return an answer that so many endpoints gave alike, and note who contradicts it.

        `only` is the key of the one answer that may win.
        """
        keys = [self._key(answer) for _, answer in self.answers]
        for key, (_, answer) in zip(keys, self.answers, strict=True):
            if keys.count(key) < votes or only not in (None, key):
                continue
            for other, (endpoint, _) in zip(keys, self.answers, strict=True):
                if other != key:
                    self._pool.contradicted(endpoint, self._question, other, key)
            return answer
        return None

    def failure(self) -> Exception:
        """Return why there is no winner."""
        quorum = self._pool.settings.quorum
        if len(self.answers) >= quorum:
            return self.disagreement({})
        if self.answers:
            reason = (
                f"{len(self.answers)} of {quorum} endpoints that must agree about {self._question} answered"
            )
            self.errors.append(NodeUnavailable(self._pool.endpoint, reason))
        return NobodyAnswered(self.errors)

    def disagreement(self, more: Mapping[str, str]) -> Disagreement:
        """Return the error that tells who said what."""
        for endpoint, _ in self.answers:
            endpoint.numbers.disagreements += 1
        said = {endpoint.name: self._key(answer) for endpoint, answer in self.answers}
        return Disagreement(self._question, {**said, **more})


async def agreed(pool: Pool, ask: Ask[_T], question: str, key: Callable[[_T], str]) -> _T:
    """Return what the pool's quorum says alike. Raises Disagreement, and as `Pool.visit`.

    `key` tells in few characters what is compared, and is what the error shows.
    """
    if pool.settings.quorum == 1:
        return await pool.visit(ask)

    async def attempt() -> _T:
        ballot, waiting = Ballot(pool, question, key), pool.ranked()
        while waiting:
            missing = max(1, pool.settings.quorum - len(ballot.answers))
            asked, waiting = waiting[:missing], waiting[missing:]
            await ballot.ask(ask, asked)
            found = ballot.winner(pool.settings.quorum)
            if found is not None:
                return found
        raise ballot.failure()

    return await pool.patiently(attempt)


async def read_header(pool: Pool, block: BlockReference) -> BlockHeader:
    """Return the block of a number, a tag or a hash, and never less than the reader has been shown.

    Raises BlockMissing where no endpoint has it, Disagreement where they have different ones.
    """
    if isinstance(block, bytes) or not pool.several:
        header = await pool.visit(lambda endpoint: ask_header(endpoint, block))
        if not isinstance(block, bytes):
            pool.sight.show(header, block if isinstance(block, str) else None)
        return header
    if isinstance(block, int):
        return await pool.patiently(lambda: _numbered(pool, block))
    if block in MOVING_TAGS:
        return await pool.patiently(lambda: _tagged(pool, block))
    return await pool.visit(lambda endpoint: ask_header(endpoint, block))


async def read_headers(pool: Pool, numbers: Sequence[int]) -> list[BlockHeader]:
    """Return the blocks of these numbers, in their order, all of one endpoint; of a quorum where one is set.

    Raises BlockMissing, also where an endpoint has others than the reader has been shown.
    """
    if not numbers:
        return []
    requests, judges = [header_request(each) for each in numbers], [header_judge(each) for each in numbers]

    def judge(name: str, outcomes: list[Outcome]) -> list[BlockHeader]:
        return [read(name, [outcome]) for read, outcome in zip(judges, outcomes, strict=True)]

    async def ask(endpoint: Endpoint) -> list[BlockHeader]:
        if pool.several:
            await pool.require_height(endpoint, max(numbers))
        headers = await endpoint.ask(requests, judge)
        for header in headers:
            endpoint.remember(header.number, header.hash)
            if pool.several:
                pool.check_shown(endpoint, header)
        return headers

    headers = await agreed(pool, ask, f"blocks {min(numbers)} to {max(numbers)}", _digest)
    for header in headers:
        pool.sight.show(header)
    return headers


def _digest(headers: Sequence[BlockHeader]) -> str:
    return f"0x{sha256(b''.join(header.hash for header in headers)).hexdigest()}"


async def _numbered(pool: Pool, number: int) -> BlockHeader:
    """Return the block of a number: as it was shown before if any endpoint that keeps up still has it so."""
    ballot = _header_ballot(pool, number)
    shown, quorum = pool.sight.hash_at(number), pool.settings.quorum
    only = None if shown is None else "0x" + shown.hex()

    async def ask(endpoint: Endpoint) -> BlockHeader:
        await pool.require_height(endpoint, number)
        return await ask_header(endpoint, number)

    waiting, at_once = pool.ranked(), quorum
    while waiting:
        if len(ballot.answers) >= quorum and pool.lags(waiting[0]):
            break  # What a reorg has replaced may live on where the chain stands still.
        asked, waiting, at_once = waiting[:at_once], waiting[at_once:], 1
        await ballot.ask(ask, asked)
        if (header := ballot.winner(quorum, only=only)) is not None:
            return _shown(pool, header)
    header = ballot.winner(quorum if quorum > 1 else max(1, len(ballot.answers)))
    if header is None:
        raise ballot.failure()
    if only is not None and len(ballot.answers) == 1 and pool.sight.is_final(number):
        # One endpoint alone is not believed against a block that was final.
        raise ballot.disagreement({"the pool, before": only})
    return _shown(pool, header)


async def _tagged(pool: Pool, tag: str) -> BlockHeader:
    """Return the block of a tag that moves, at the height that a quorum has reached."""
    ballot: Ballot[BlockHeader] = _header_ballot(pool, tag)
    quorum, known = pool.settings.quorum, pool.sight.tag(tag)

    async def ask(endpoint: Endpoint) -> BlockHeader:
        return await ask_header(endpoint, tag)

    if quorum > 1:
        await ballot.ask(ask, pool.ranked())
        if len(ballot.answers) < quorum:
            raise ballot.failure()
        heights = sorted((header.number for _, header in ballot.answers), reverse=True)
        header = await _numbered(pool, heights[quorum - 1])
        return _shown(pool, header, tag)
    for endpoint in pool.ranked():
        await ballot.ask(ask, [endpoint])
        if any(header.number >= known for _, header in ballot.answers):
            break
    if not ballot.answers:
        raise ballot.failure()
    header = max((header for _, header in ballot.answers), key=lambda each: each.number)
    shown = pool.sight.hash_at(header.number)
    if shown not in (None, header.hash) and pool.sight.is_final(header.number):
        header = await _numbered(pool, header.number)
    return _shown(pool, header, tag)


def _header_ballot(pool: Pool, block: BlockReference) -> Ballot[BlockHeader]:
    return Ballot(pool, f"block {describe_block(block)}", lambda header: "0x" + header.hash.hex())


def _shown(pool: Pool, header: BlockHeader, tag: str | None = None) -> BlockHeader:
    pool.sight.show(header, tag)
    return header
