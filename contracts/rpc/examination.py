"""What each endpoint of a pool is worth at this moment, for an operator's eyes."""

from __future__ import annotations

from dataclasses import dataclass

from contracts.rpc.blocks import ask_height
from contracts.rpc.endpoint import Endpoint
from contracts.rpc.errors import RpcError
from contracts.rpc.pool import Pool
from contracts.rpc.together import gathered


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """One endpoint: its chain, newest block, usual seconds until an answer, and what is wrong, if anything.

    `name` holds nothing secret.
    """

    name: str
    chain_id: int | None = None
    head: int | None = None
    latency_s: float | None = None
    fault: str | None = None

    def described(self, best_head: int) -> str:
        """Return a short line; `best_head` is the newest block of all endpoints."""
        if self.fault is not None:
            return f"{self.name} fails: {self.fault}"
        behind = best_head - (self.head or 0)
        place = f"head {self.head}" + (f", {behind} behind" if behind > 0 else "")
        return f"{self.name} {place}, {1000 * (self.latency_s or 0):.0f} ms"


async def examine(pool: Pool) -> list[Examined]:
    """Ask every endpoint, whatever its circuit says; one that lags beyond the pool's bound has a fault."""
    found = await gathered([_examine(endpoint) for endpoint in pool.endpoints])
    best = max((each.head or 0 for each in found), default=0)
    return [_judged(each, best, pool.settings.lag_blocks) for each in found]


async def _examine(endpoint: Endpoint) -> Examined:
    try:
        chain_id = await endpoint.check_chain()
        head = await ask_height(endpoint)
    except RpcError as error:
        return Examined(name=endpoint.name, fault=str(error))
    return Examined(name=endpoint.name, chain_id=chain_id, head=head, latency_s=endpoint.latency_s)


def _judged(found: Examined, best: int, lag_blocks: int) -> Examined:
    if found.fault is not None or found.head is None or found.head >= best - lag_blocks:
        return found
    fault = f"its head {found.head} is {best - found.head} blocks behind the best"
    return Examined(name=found.name, chain_id=found.chain_id, head=found.head, fault=fault)
