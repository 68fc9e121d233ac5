"""Reorganisations, snapshots and finality: methods by which the chain's history becomes another one."""

from typing import Any

from hardhat_free_chain.errors import InvalidParams
from hardhat_free_chain.formats import data, quantity
from hardhat_free_chain.reorganisation import Fate, Reorganisation
from hardhat_free_chain.rpc import parameters
from hardhat_free_chain.rpc.node import Method, MethodTable, Node, under
from hardhat_free_chain.rpc.sending import signed_by_node

REORG_OPTIONS = frozenset({"length", "fate", "fates", "replacements", "added"})


def snapshot(node: Node, _: list[Any]) -> str:
    """evm_snapshot."""
    return quantity(node.chain.snapshot())


def revert(node: Node, arguments: list[Any]) -> bool:
    """evm_revert: true if the snapshot existed; it is used up."""
    return node.chain.revert(parameters.quantity(arguments[0], "snapshot id"))


def reset(node: Node, arguments: list[Any]) -> bool:
    """hardhat_reset: begin again at genesis; forking another chain is refused."""
    options = parameters.argument(arguments, 0, {})
    if parameters.mapping(options, "options").get("forking"):
        raise InvalidParams("forking another chain is not supported: this chain is its own")
    node.chain.reset()
    return True


def anvil_reorg(node: Node, arguments: list[Any]) -> None:
    """anvil_reorg: (depth, [[transaction, block], ...]); what is not listed is forgotten.

    A transaction is raw bytes, or an object to be signed by the node; block 0 is the first of the new branch.
    """
    if isinstance(arguments[0], dict):
        options = arguments[0]
        depth, pairs = options.get("depth"), options.get("txBlockPairs", options.get("tx_block_pairs"))
    else:
        depth, pairs = arguments[0], parameters.argument(arguments, 1)
    added = [_pair(node, each) for each in _array(pairs or [], "transactions")]
    wanted = Reorganisation(depth=parameters.quantity(depth, "depth"), fate=Fate.DROPPED, added=added)
    node.chain.reorganise(wanted)


def reorganise(node: Node, arguments: list[Any]) -> list[str]:
    """hardhatfree_reorg: (depth, {length, fate, fates, replacements, added}); the hashes of the new blocks.

    `fate` is included, pooled or dropped; `fates` names another for single hashes, `replacements` raw
    transactions for them, `added` pairs of a raw transaction and its block.
    """
    options = parameters.mapping(parameters.argument(arguments, 1, {}), "options")
    unknown = sorted(set(options) - REORG_OPTIONS)
    if unknown:
        raise InvalidParams(f"unknown option {unknown[0]!r}: give some of {sorted(REORG_OPTIONS)}")
    length = options.get("length")
    fates = parameters.mapping(options.get("fates") or {}, "fates")
    replacements = parameters.mapping(options.get("replacements") or {}, "replacements")
    blocks = node.chain.reorganise(
        Reorganisation(
            depth=parameters.quantity(arguments[0], "depth"),
            length=None if length is None else parameters.quantity(length, "length"),
            fate=_fate(options.get("fate") or Fate.INCLUDED),
            fates={parameters.hash32(key): _fate(value) for key, value in fates.items()},
            replacements={
                parameters.hash32(key): parameters.data(value, "raw transaction")
                for key, value in replacements.items()
            },
            added=[_pair(node, each) for each in _array(options.get("added") or [], "added")],
        )
    )
    return [data(block.hash) for block in blocks]


def rollback(node: Node, arguments: list[Any]) -> None:
    """anvil_rollback: the latest blocks, by default one, go without others in their place."""
    node.chain.rollback(parameters.quantity(parameters.argument(arguments, 0, 1), "depth"))


def set_finality_lag(node: Node, arguments: list[Any]) -> bool:
    """hardhatfree_setFinalityLag: (blocks, tag); without a tag, of `safe` and `finalized`."""
    blocks = parameters.quantity(arguments[0], "number of blocks")
    tag = parameters.argument(arguments, 1)
    if tag not in (None, "safe", "finalized"):
        raise InvalidParams("invalid tag: give safe or finalized, or none for both")
    for each in ("safe", "finalized") if tag is None else (tag,):
        node.chain.finality.set_lag(each, blocks)
    return True


def stall_finality(node: Node, _: list[Any]) -> bool:
    """hardhatfree_stallFinality: `safe` and `finalized` stand still where they are."""
    node.chain.finality.stall(node.chain.ledger.height)
    return True


def resume_finality(node: Node, _: list[Any]) -> bool:
    """hardhatfree_resumeFinality: they follow the head again."""
    node.chain.finality.resume()
    return True


def _array(value: Any, name: str) -> list[Any]:
    if not isinstance(value, list):
        raise InvalidParams(f"invalid {name}: give an array")
    return value


def _pair(node: Node, value: Any) -> tuple[bytes, int]:
    if not isinstance(value, list) or len(value) != 2:
        raise InvalidParams("invalid transaction: give pairs of a transaction and its block")
    transaction, block = value
    number = parameters.quantity(block, "block")
    if isinstance(transaction, dict):
        return signed_by_node(node, transaction), number
    return parameters.data(transaction, "raw transaction"), number


def _fate(value: Any) -> Fate:
    try:
        return Fate(value)
    except ValueError:
        raise InvalidParams(f"invalid fate {value!r}: give one of {[str(each) for each in Fate]}") from None


METHODS: MethodTable = {
    "evm_snapshot": Method(snapshot),
    "anvil_snapshot": Method(snapshot),
    "evm_revert": Method(revert, 1, 1),
    "anvil_revert": Method(revert, 1, 1),
    **under("reset", Method(reset, 0, 1), "hardhat", "anvil"),
    "anvil_reorg": Method(anvil_reorg, 1, 2),
    "anvil_rollback": Method(rollback, 0, 1),
    "hardhatfree_reorg": Method(reorganise, 1, 2),
    "hardhatfree_setFinalityLag": Method(set_finality_lag, 1, 2),
    "hardhatfree_stallFinality": Method(stall_finality),
    "hardhatfree_resumeFinality": Method(resume_finality),
}
