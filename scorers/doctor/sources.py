"""The doctor's question about each source of a configuration file, asked of the source's own nodes."""

from __future__ import annotations

from contextlib import AsyncExitStack

from contracts.rpc import Node, WrongChain
from listener import ListenerSettings
from scorers.doctor.values import Fault, Question, Surroundings
from scorers.listening import NodeDirectory, nodes_of, settings_of, shape_of
from scorers.readiness import check_registry
from scorers.sources import SourceSettings


def questions(around: Surroundings) -> list[tuple[str, Question]]:
    """Return a question for each source, by its name."""
    return [(f"source {each.name}", _question(each)) for each in around.settings.sources or ()]


def _question(source: SourceSettings) -> Question:
    async def ask(around: Surroundings) -> str:
        async with AsyncExitStack() as stack:
            chosen = settings_of(around.settings, source)
            directory = NodeDirectory(around.settings, stack)
            urls = nodes_of(around.settings, source)
            node = (await directory.node(urls, chosen.chain_id)).with_finality(chosen.finality_depth)
            return await _examined(node, chosen, source)

    return ask


async def _examined(node: Node, chosen: ListenerSettings, source: SourceSettings) -> str:
    """Ask what the source asks at its start, and for the first range of its back-fill."""
    for each in await node.examine():
        if each.fault is not None:
            raise Fault(f"{each.name} fails: {each.fault}")
        if each.chain_id not in (None, chosen.chain_id):
            raise WrongChain(chosen.chain_id, each.chain_id or 0, each.name)
    head, finalized = await node.header("latest"), await node.header("finalized")
    first = chosen.start_block
    if first > head.number:
        raise Fault(
            f"start block {first} lies beyond the head {head.number}: give the contract's block of deployment"
        )
    shape = shape_of(source, chosen)
    await shape.check(node)
    if chosen.registry is not None:
        await check_registry(node, chosen.registry, chosen.dao)
    await node.logs(chosen.dao, [list(shape.topics)], first, first)
    return (
        f"{chosen.dao} of chain {chosen.chain_id}: block {finalized.number} is final, {head.number} the head,"
        f" the logs of block {first} are served"
    )
