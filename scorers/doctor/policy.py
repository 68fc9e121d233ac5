"""The doctor's question about the policy: whether it is the registered one, and its inputs can be read."""

from __future__ import annotations

from contracts.bindings import proposal_scores
from contracts.rpc import RpcError
from scorers.doctor.values import Fault, Surroundings
from scorers.policies.configuration import policy_from
from scorers.policies.inputs import BALANCE, ReputationAt
from scorers.policies.statement import parts_of
from scorers.policy import ANY_POLICY, PolicyStatement, policy_hash


async def policy(around: Surroundings) -> str:
    """Compare the configured policy with the one that the registry binds to new proposals."""
    chosen = policy_from(around.settings.policy)
    ours = policy_hash(chosen)
    others = [policy_from(each) for each in around.settings.policies]
    for each in (chosen, *others):
        source = parts_of(each).asked.reputation if isinstance(each, PolicyStatement) else None
        if source is not None:
            await _reputation(around, source)
    if around.settings.registry is None:
        return f"{chosen.name}, {ours}; no registry is configured that could bind another"
    read = proposal_scores.POLICY_HASH
    answer = await around.node.call(around.settings.registry, read.encode(), "finalized")
    bound = "0x" + read.decode(answer).hex()
    if bound == ANY_POLICY:
        return f"{chosen.name}, {ours}; the registry binds none: its admin may call registerPolicy({ours})"
    other = next((each for each in others if policy_hash(each) == bound), None)
    if other is not None:
        return f"{other.name}, {bound}, as the registry binds it, among {len(others) + 1} policies"
    if bound != ours:
        raise Fault(
            f"the registry binds new proposals to policy {bound} and {chosen.name} here is {ours}: "
            "configure the bound one, or have its admin register this one"
        )
    return f"{chosen.name}, {ours}, as the registry binds it"


async def _reputation(around: Surroundings, source: ReputationAt) -> None:
    """Raise Fault unless the contract of reputations is there, and was, where its past state is read."""
    node = around.node
    finalized = (await node.header("finalized")).number
    if not await node.code(source.contract, finalized):
        raise Fault(f"the policy reads reputations of {source.contract}, which is no contract: correct it")
    if source.function != BALANCE:
        return
    first = min(max(around.settings.start_block, 1), finalized)
    try:
        await node.code(source.contract, first)
    except RpcError as error:
        raise Fault(
            f"the policy reads {BALANCE} at each snapshot, and the state of block {first} is pruned: "
            "use an archive node, or a contract with getPastVotes"
        ) from error
