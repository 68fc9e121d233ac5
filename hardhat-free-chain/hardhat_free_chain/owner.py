"""The one thread that runs the chain, so that the event loop never waits for the EVM.

O1 operations run one at a time, in the order of arrival.
O2 at most `waiting_max` wait; more are refused at once.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from hardhat_free_chain.errors import LimitExceeded

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Owner:
    """Runs functions in its thread on behalf of the event loop."""

    def __init__(self, waiting_max: int) -> None:
        self._waiting_max = waiting_max
        self._waiting = 0
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="local-chain")

    async def run(
        self, function: Callable[Parameters, Result], *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Run a function after all that came before. Raises LimitExceeded if too many wait (O2)."""
        if self._waiting >= self._waiting_max:
            raise LimitExceeded(f"the chain is busy: {self._waiting} requests are waiting; try again later")
        self._waiting += 1
        try:
            return await asyncio.wrap_future(self._thread.submit(function, *args, **kwargs))
        finally:
            self._waiting -= 1

    def stop(self) -> None:
        """End the thread after the operation it is in; what waits is dropped."""
        self._thread.shutdown(wait=True, cancel_futures=True)
