"""Running a call that leaves no trace, and searching the gas that a transaction needs.

A call is run as go-ethereum runs it: neither nonce nor gas money of the sender is checked, and without a gas
price the base fee is zero. The state is left exactly as it was found. Imports no network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from eth.abc import ComputationAPI, StateAPI
from eth.exceptions import InsufficientFunds, OutOfGas, Revert, VMError
from eth.vm.forks.frontier.state import FrontierTransactionExecutor
from eth.vm.forks.prague.constants import STANDARD_TOKEN_COST, TOTAL_COST_FLOOR_PER_TOKEN
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_typing import Address

from hardhat_free_chain.errors import ExecutionFailed, ExecutionReverted

BASE_GAS = 21_000
CREATION_GAS = 32_000
ACCESS_LIST_ADDRESS_GAS = 2_400
ACCESS_LIST_SLOT_GAS = 1_900
DATA_ZERO_GAS = 4
DATA_GAS = 16
CALL_STIPEND = 2_300
# go-ethereum stops its search when the bounds are this close.
ESTIMATE_ERROR_RATIO = 0.015
ERROR_SELECTOR = bytes.fromhex("08c379a0")
PANIC_SELECTOR = bytes.fromhex("4e487b71")
PANIC_TEXTS = {
    0x00: "generic panic",
    0x01: "assert(false)",
    0x11: "arithmetic underflow or overflow",
    0x12: "division or modulo by zero",
    0x21: "enum overflow",
    0x22: "invalid encoded storage byte array accessed",
    0x31: "out-of-bounds array access; popping on an empty array",
    0x32: "out-of-bounds access of an array or bytesN",
    0x41: "out of memory",
    0x51: "uninitialized function",
}

AccessList = tuple[tuple[bytes, tuple[int, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is to be run; fields are named as the transaction executor of py-evm reads them.

    `to` is empty for a contract creation.
    """

    sender: Address
    to: Address
    data: bytes
    value: int
    gas: int
    max_fee_per_gas: int = 0
    max_priority_fee_per_gas: int = 0
    access_list: AccessList = ()
    type_id: int = 2

    @property
    def intrinsic_gas(self) -> int:
        """Gas that is due before the first instruction runs."""
        return intrinsic_gas(self.data, self.access_list, is_creation=not self.to)


def intrinsic_gas(data: bytes, access_list: AccessList, *, is_creation: bool) -> int:
    """Gas due before execution (Berlin rules; init code is charged by the creation itself)."""
    zeros = data.count(0)
    slots = sum(len(keys) for _, keys in access_list)
    return (
        BASE_GAS
        + (CREATION_GAS if is_creation else 0)
        + zeros * DATA_ZERO_GAS
        + (len(data) - zeros) * DATA_GAS
        + len(access_list) * ACCESS_LIST_ADDRESS_GAS
        + slots * ACCESS_LIST_SLOT_GAS
    )


def data_floor_gas(data: bytes) -> int:
    """The least gas that a transaction with this data is charged (EIP-7623)."""
    zeros = data.count(0)
    tokens = zeros + (len(data) - zeros) * STANDARD_TOKEN_COST
    return BASE_GAS + TOTAL_COST_FLOOR_PER_TOKEN * tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResult:
    """How a call ended: its output, and the gas a transaction would have been charged and refunded."""

    output: bytes
    gas_used: int
    gas_refund: int
    error: Exception | None


def run_call(state: StateAPI, call: Call) -> CallResult:
    """Run a call and put the state back."""
    if call.gas < call.intrinsic_gas:
        raise ExecutionFailed(
            f"err: intrinsic gas too low: have {call.gas}, want {call.intrinsic_gas} "
            f"(supplied gas {call.gas})"
        )
    if call.max_fee_per_gas:
        _check_can_pay(state, call)
    snapshot = state.snapshot()
    try:
        executor = cast(FrontierTransactionExecutor, state.get_transaction_executor())
        # The executor reads the fields of Call only; a real transaction would have to be signed.
        message = executor.build_evm_message(call)  # type: ignore[arg-type]
        computation = executor.build_computation(message, call)  # type: ignore[arg-type]
        return _result(executor, call, computation)
    except VMError as error:
        # The outermost transfer of a value that the sender does not have is raised, not returned.
        return CallResult(output=b"", gas_used=call.intrinsic_gas, gas_refund=0, error=error)
    finally:
        state.revert(snapshot)
        state.clear_transient_storage()


def _check_can_pay(state: StateAPI, call: Call) -> None:
    address = "0x" + call.sender.hex()
    if call.max_fee_per_gas < state.base_fee:
        raise ExecutionFailed(
            f"err: max fee per gas less than block base fee: address {address}, "
            f"maxFeePerGas: {call.max_fee_per_gas}, baseFee: {state.base_fee}"
        )
    needed = call.gas * call.max_fee_per_gas + call.value
    balance = state.get_balance(call.sender)
    if balance < needed:
        raise ExecutionFailed(
            f"err: insufficient funds for gas * price + value: address {address} have {balance} want {needed}"
        )


def _result(executor: FrontierTransactionExecutor, call: Call, computation: ComputationAPI) -> CallResult:
    spent = call.gas - computation.get_gas_remaining()
    refund = executor.calculate_gas_refund(computation, spent)
    return CallResult(
        output=computation.output,
        gas_used=max(spent - refund, data_floor_gas(call.data)),
        gas_refund=refund,
        error=computation.error if computation.is_error else None,
    )


def raise_if_failed(result: CallResult) -> None:
    """Turn an EVM error into the answer that go-ethereum gives for it."""
    if result.error is None:
        return
    if isinstance(result.error, Revert):
        raise ExecutionReverted(_revert_message(result.output), data="0x" + result.output.hex())
    if isinstance(result.error, OutOfGas):
        raise ExecutionFailed("out of gas")
    if isinstance(result.error, InsufficientFunds):
        raise ExecutionFailed(f"insufficient funds for transfer: {result.error}")
    raise ExecutionFailed(f"{_words(type(result.error).__name__)}: {result.error}")


def estimate_gas(run: Callable[[int], CallResult], gas_max: int) -> int:
    """The least gas limit, within 1.5 %, with which the transaction succeeds (go-ethereum's search).

    `run` runs the call with a gas limit. Raises what the call raises with `gas_max`.
    """
    first = run(gas_max)
    raise_if_failed(first)
    low, high = first.gas_used - 1, gas_max
    optimistic = (first.gas_used + first.gas_refund + CALL_STIPEND) * 64 // 63
    if optimistic < high:
        low, high = (low, optimistic) if run(optimistic).error is None else (optimistic, high)
    while low + 1 < high and (high - low) / high >= ESTIMATE_ERROR_RATIO:
        middle = min((low + high) // 2, low * 2)
        low, high = (low, middle) if run(middle).error is None else (middle, high)
    return high


def _revert_message(output: bytes) -> str:
    try:
        if output[:4] == ERROR_SELECTOR:
            return f"execution reverted: {decode(['string'], output[4:])[0]}"
        if output[:4] == PANIC_SELECTOR:
            (number,) = decode(["uint256"], output[4:])
            return f"execution reverted: {PANIC_TEXTS.get(number, 'unknown panic code')} ({number:#x})"
    except (DecodingError, UnicodeDecodeError):
        return "execution reverted"
    return "execution reverted"


def _words(name: str) -> str:
    return "".join(f" {letter.lower()}" if letter.isupper() else letter for letter in name).strip()
