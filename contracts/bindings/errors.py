"""The reasons with which our contracts refuse, read from the bytes of a revert."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from eth_abi.abi import decode as abi_decode
from eth_abi.exceptions import DecodingError
from eth_utils.crypto import keccak

__all__ = ["ContractError", "ErrorType"]

_PANICS = {
    0x01: "failed assertion",
    0x11: "arithmetic overflow",
    0x12: "division by zero",
    0x21: "invalid enumeration value",
    0x31: "pop from an empty array",
    0x32: "index out of bounds",
    0x41: "too much memory",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractError:
    """A decoded refusal: its name in Solidity and its arguments by their names there."""

    name: str
    arguments: Mapping[str, object]

    def __str__(self) -> str:
        """Return the refusal on one line, such as `NotFinal(proposalId=7)`."""
        shown = (f"{name}={_shown(self.name, value)}" for name, value in self.arguments.items())
        return f"{self.name}({', '.join(shown)})"


@dataclass(frozen=True, slots=True)
class ErrorType:
    """A custom error of a contract, written as in Solidity: `NotFinal(uint256 proposalId)`."""

    declaration: str
    name: str = field(init=False)
    parameters: tuple[tuple[str, str], ...] = field(init=False)
    selector: bytes = field(init=False)

    def __post_init__(self) -> None:
        name, _, rest = self.declaration.partition("(")
        pairs = [each.split() for each in rest.removesuffix(")").split(",") if each]
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "parameters", tuple((kind, label) for kind, label in pairs))
        object.__setattr__(self, "selector", keccak(text=self.signature)[:4])

    @property
    def signature(self) -> str:
        """The canonical signature, such as `NotFinal(uint256)`."""
        return f"{self.name}({','.join(kind for kind, _ in self.parameters)})"

    def decode(self, data: bytes) -> ContractError | None:
        """Return the refusal, or None if the bytes are not of this error."""
        if data[:4] != self.selector:
            return None
        try:
            values = abi_decode([kind for kind, _ in self.parameters], data[4:])
        except (DecodingError, UnicodeDecodeError, OverflowError):
            return None
        named = zip((label for _, label in self.parameters), values, strict=True)
        return ContractError(name=self.name, arguments=dict(named))


def _shown(error_name: str, value: object) -> str:
    if error_name == "Panic" and isinstance(value, int):
        return f"{value:#04x} ({_PANICS.get(value, 'see the Solidity manual')})"
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, tuple):
        return f"[{', '.join(_shown(error_name, each) for each in value)}]"
    # A message is a stranger's text: quoted, it cannot break the line or pass for another argument.
    return repr(value) if error_name == "Error" else str(value)
