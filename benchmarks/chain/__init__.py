"""How fast the chain is read and written, beside web3: `python -m benchmarks.chain --help`."""

from benchmarks.chain.entry import main

__all__ = ["main"]
