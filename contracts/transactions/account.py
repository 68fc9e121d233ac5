"""eth_account without what one of its dependencies does to the process.

py_ecc lifts the interpreter's recursion limit to 100,000 when it is imported. At that depth a deeply nested
JSON text overflows the C stack of any decoder and ends the process, which is a gift to whoever may send one.
The limit is put back here, the only place outside the local chain that imports eth_account. It also computes
curves for most of a second: this module is imported where a key is read, and by no process without one.
"""

import sys

_limit = sys.getrecursionlimit()

from eth_account import Account  # noqa: E402 - between reading the limit and putting it back
from eth_account.signers.local import LocalAccount  # noqa: E402
from eth_account.typed_transactions import TypedTransaction  # type: ignore[attr-defined]  # noqa: E402

sys.setrecursionlimit(_limit)

__all__ = ["Account", "LocalAccount", "TypedTransaction"]
