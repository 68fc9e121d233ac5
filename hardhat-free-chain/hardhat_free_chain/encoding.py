"""RLP, typed: the one place that calls the untyped codec."""

from rlp import codec
from rlp.exceptions import RLPException

__all__ = ["RLPException", "rlp_encode"]


def rlp_encode(value: object) -> bytes:
    """The RLP encoding of a serializable object, or of nested lists of bytes."""
    encoded: bytes = codec.encode(value)  # type: ignore[no-untyped-call]
    return encoded
