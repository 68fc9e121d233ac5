"""Looks at configuration and surroundings, one question after another, and changes nothing.

Every question gets an answer of its own: a failure never hides the ones after it, and what cannot be asked
(no key on this host, a node that is away) is said to be skipped and why. No secret is ever part of a finding.
"""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from pathlib import Path

from contracts.bindings import BindingError, proposal_scores
from contracts.dao import DaoError, clock_of, governor_behind, probe
from contracts.rpc import RpcError, WrongChain, answers_of
from contracts.transactions import SignerError
from contracts.transactions.checks import OutdatedRegistry, check_version, version_call
from listener import ListenerError, Source, SqliteCursorStore
from orchestrator import OrchestratorError
from orchestrator.store.inspection import inspect_database, inspect_file
from scorers import composition
from scorers.doctor import keys, sources
from scorers.doctor.policy import policy
from scorers.doctor.server import TIMEOUT_S, server
from scorers.doctor.values import Fault, Finding, Question, Skipped, State, Surroundings, configured
from scorers.errors import ScorerError
from scorers.settings import POSTGRES, Settings

SUBMISSIONS = 10
FINALITY_LAG_S_MAX = 3600
"""Ethereum finalises after 13 minutes and roll-ups within the hour; what lags more has a stalled finality."""
HEAD_AGE_S_MAX = 900
CLOCK_AHEAD_S_MAX = 60
LOCAL_CHAINS = frozenset({1337, 31337})
"""Development chains: their head is as old as their last transaction."""
SQLITE = "sqlite:///"
KNOWN_ERRORS = (
    BindingError,
    DaoError,
    ListenerError,
    OrchestratorError,
    OSError,
    OutdatedRegistry,
    RpcError,
    ScorerError,
    SignerError,
)


async def examine(settings: Settings, *, submissions: int = SUBMISSIONS) -> list[Finding]:
    """Return the findings about these settings, in the order in which to mend what failed."""
    found = [Finding(name="configuration", state=State.OK, detail="every value is valid")]
    async with AsyncExitStack() as stack:
        try:
            node = await stack.enter_async_context(
                composition.node_of(settings, timeout_s=TIMEOUT_S, any_chain=True)
            )
        except RpcError as error:
            return [*found, Finding(name="node", state=State.FAILED, detail=str(error))]
        around = Surroundings(settings=settings, node=node, submissions=submissions)
        found.append(await _ask("node", _node, around))
        reached = found[-1].state is State.OK
        of_sources = sources.questions(around)
        without = WITHOUT_NODE | {question for _, question in of_sources}
        for name, question in (*QUESTIONS, *of_sources):
            asked = question if reached or question in without else _unreachable
            found.append(await _ask(name, asked, around))
    return found


async def _ask(name: str, question: Question, around: Surroundings) -> Finding:
    try:
        return Finding(name=name, state=State.OK, detail=await question(around))
    except Skipped as reason:
        return Finding(name=name, state=State.SKIPPED, detail=str(reason))
    except KNOWN_ERRORS as error:
        return Finding(name=name, state=State.FAILED, detail=str(error))


async def _unreachable(around: Surroundings) -> str:
    raise Skipped("not asked without a node")


# -- the chain


async def _node(around: Surroundings) -> str:
    settings = around.settings
    if (
        settings.sources
        and all(each.rpc for each in settings.sources)
        and "rpc" not in settings.model_fields_set
    ):
        raise Skipped("every source has nodes of its own")
    return f"{around.node.endpoint} serves chain {await around.node.chain_id()}"


async def _endpoints(around: Surroundings) -> str:
    """Ask every endpoint by itself: in a pool the others hide one that is away."""
    found = await around.node.examine()
    heads = [each.head for each in found if each.head is not None]
    told = "; ".join(each.described(max(heads, default=0)) for each in found)
    if any(each.fault is not None for each in found):
        raise Fault(f"{told}: remove what is wrong from --rpc, or wait until it is back")
    return told


async def _chain_id(around: Surroundings) -> str:
    actual, expected = await around.node.chain_id(), around.settings.chain_id
    if expected is None:
        raise Skipped(f"any chain is taken: pin this one with --chain-id {actual}")
    if actual != expected:
        raise WrongChain(expected, actual, around.node.endpoint)
    return f"chain {actual}, as configured"


async def _finality(around: Surroundings) -> str:
    node = around.node
    head, finalized = await node.header("latest"), await node.header("finalized")
    if finalized.number > head.number:
        raise Fault(
            f"the node calls block {finalized.number} final and its head is {head.number}: use another"
        )
    lag_s = head.timestamp - finalized.timestamp
    if lag_s > FINALITY_LAG_S_MAX:
        raise Fault(
            f"the finalized block {finalized.number} is {lag_s} s older than the head {head.number}: finality"
            " stalls, or the node has lost its consensus client"
        )
    age_s = int(time.time()) - head.timestamp
    if age_s > HEAD_AGE_S_MAX and await node.chain_id() not in LOCAL_CHAINS:
        raise Fault(f"the head {head.number} is {age_s} s old: the node is behind, wait until it has synced")
    return f"block {finalized.number} is final, {head.number - finalized.number} behind the head"


async def _clock(around: Surroundings) -> str:
    """Compare this machine's clock with the chain's: what is to be waited for is told by it."""
    if await around.node.chain_id() in LOCAL_CHAINS:
        raise Skipped("a local chain keeps a time of its own")
    head = await around.node.header("latest")
    ahead_s = head.timestamp - int(time.time())
    if ahead_s > CLOCK_AHEAD_S_MAX:
        raise Fault(f"the head {head.number} is {ahead_s} s ahead of this machine's clock: set the clock")
    return f"the head {head.number} is {-ahead_s} s old by this machine's clock"


async def _dao(around: Surroundings) -> str:
    """Ask which DAO it is: what cannot be scored is said before it is listened to."""
    dao = await probe(around.node, configured(around, "dao", "listen and up"))
    finalized = await around.node.header("finalized")
    clock = await clock_of(around.node, dao, finalized.number)
    counting = dao.form.counting_mode or "support=bravo"
    return f"{dao.address} answers as {dao.form.kind}: clock {clock} ({dao.mode}), {counting}"


async def _history(around: Surroundings) -> str:
    """Ask for the logs of the start block: the first range of a back-fill."""
    dao, first = configured(around, "dao", "listen and up"), around.settings.start_block
    head = await around.node.header("latest")
    if first > head.number:
        raise Fault(
            f"start block {first} lies beyond the head {head.number}: give the DAO's block of deployment"
        )
    await around.node.logs(dao, [], first, first)
    return f"the logs of block {first}, where back-fill begins, are served"


async def _registry(around: Surroundings) -> str:
    registry, read = configured(around, "registry", "listen and up"), proposal_scores
    asked = [(registry, read.DAO.encode()), (registry, read.PAUSED.encode()), version_call(registry)]
    outcomes = await around.node.call_each(asked)
    answers = answers_of(outcomes[:2])
    owner = read.DAO.decode(answers[0]).lower()
    wanted = around.settings.dao
    if wanted is not None and owner != wanted:
        finalized = await around.node.header("finalized")
        owner = await governor_behind(around.node, owner, finalized.number) or owner
    if wanted is not None and owner != wanted:
        raise Fault(f"{registry} keeps the scores of {owner}, not of {wanted}: correct one of them")
    check_version(registry, outcomes[2])
    if read.PAUSED.decode(answers[1]):
        raise Fault(f"{registry} is paused: submissions wait until its admin calls unpause()")
    return f"{registry} keeps the scores of {owner} and is open"


async def _archive(around: Surroundings) -> str:
    """Ask for old state. The facts that are scored are checkpointed: only the newest state is needed."""
    dao = configured(around, "dao", "listen and up")
    finalized = await around.node.header("finalized")
    first = min(max(around.settings.start_block, 1), finalized.number)
    try:
        await around.node.code(dao, first)
    except RpcError:
        raise Skipped(f"state at block {first} is pruned; the configured DAO does not need it") from None
    return f"state at block {first} is served"


# -- this host


async def _store(around: Surroundings) -> str:
    store = around.settings.store
    if store.startswith(POSTGRES):
        found = await inspect_database(store)
        due = " (to be upgraded)" if found.upgrade_due else ""
        return f"the database answers, schema {found.revision or 'empty'}{due}"
    if not store.startswith(SQLITE):
        raise Skipped(f"{store} keeps nothing in a file")
    path = Path(store.removeprefix(SQLITE))
    status = inspect_file(path)
    if status.owner is not None:
        try:
            await server(around)
        except (Skipped, *KNOWN_ERRORS) as error:
            raise Fault(
                f"{path} is in use by process {status.owner} and no server answers at "
                f"{around.settings.server}: stop that process, or correct --server"
            ) from error
        return f"{path} is in use by process {status.owner}, and the server answers"
    if not status.exists:
        return f"{path} does not exist yet and can be created"
    return f"{path} is free, schema {status.revision or 'empty'}" + (
        " (to be upgraded)" if status.upgrade_due else ""
    )


async def _cursor(around: Surroundings) -> str:
    settings, dao = around.settings, configured(around, "dao", "listen and up")
    path = Path(settings.cursor.removeprefix(SQLITE))
    if not settings.cursor.startswith(SQLITE) or not _exists(path):
        raise Skipped(
            f"{settings.cursor} is not there yet: the first scan begins at block {settings.start_block}"
        )
    source = Source(chain_id=settings.chain_id or await around.node.chain_id(), dao=dao)
    async with await SqliteCursorStore.open(path) as store:
        cursor = await store.cursor(source)
    if cursor is None:
        raise Skipped(f"{path} has no place of this DAO yet: the first scan begins at {settings.start_block}")
    finalized = await around.node.header("finalized")
    if finalized.number < cursor.block_number:
        raise Fault(
            f"the cursor stands at block {cursor.block_number} and the node has finalised {finalized.number}:"
            " the node is behind, or serves another chain"
        )
    if (await around.node.header(cursor.block_number)).hash != cursor.block_hash:
        raise Fault(
            f"block {cursor.block_number} of the cursor has another hash on this chain: compare with another "
            f"node; if this is another chain, remove {path} to scan again"
        )
    return f"block {cursor.block_number} is dispatched, {finalized.number - cursor.block_number} to go"


async def _incidents(around: Surroundings) -> str:
    path = Path(around.settings.cursor.removeprefix(SQLITE))
    if not _exists(path):
        raise Skipped("no listener has run here yet")
    async with await SqliteCursorStore.open(path) as store:
        found = await store.incidents()
    if found:
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise Fault(
            f"{found[0].source} is stopped, {found[0].report.detail}{more}: see dao-scorer incident list"
        )
    return "no incident waits for a decision"


def _exists(path: Path) -> bool:
    return path.exists()


QUESTIONS: tuple[tuple[str, Question], ...] = (
    ("endpoints", _endpoints),
    ("chain id", _chain_id),
    ("finality", _finality),
    ("clock", _clock),
    ("DAO", _dao),
    ("history", _history),
    ("registry", _registry),
    ("policy", policy),
    ("archive", _archive),
    ("key", keys.key),
    ("signer", keys.signer),
    ("retiring keys", keys.retiring),
    ("scorer role", keys.role),
    ("balance", keys.balance),
    ("fees", keys.fees),
    ("server", server),
    ("store", _store),
    ("cursor", _cursor),
    ("incidents", _incidents),
)
WITHOUT_NODE = frozenset({keys.key, keys.signer, server, _store, _incidents})

__all__ = ["SUBMISSIONS", "Finding", "State", "examine"]
