"""How fast the chain is read and written, against web3 in the same run: `python -m benchmarks.chain --help`."""

from benchmarks.chain.entry import main

__all__ = ["main"]
