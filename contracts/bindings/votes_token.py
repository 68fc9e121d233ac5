"""Typed calls of tokens that vote: OpenZeppelin's ERC20Votes (and VotesExtended), Compound's COMP, MiniMe."""

from contracts.bindings.codec import Function


def _nothing() -> None:
    return None


_PAST = ("address", "uint256")
_NUMBER = ("uint256",)

# Writing
DELEGATE = Function(name="delegate", inputs=("address",), result=_nothing)

# Reading
GET_PAST_VOTES = Function(name="getPastVotes", inputs=_PAST, outputs=_NUMBER, result=int)
GET_PRIOR_VOTES = Function(name="getPriorVotes", inputs=_PAST, outputs=("uint96",), result=int)
GET_PAST_BALANCE_OF = Function(name="getPastBalanceOf", inputs=_PAST, outputs=_NUMBER, result=int)
GET_PAST_DELEGATE = Function(name="getPastDelegate", inputs=_PAST, outputs=("address",), result=str)
GET_PAST_TOTAL_SUPPLY = Function(name="getPastTotalSupply", inputs=("uint256",), outputs=_NUMBER, result=int)
BALANCE_OF = Function(name="balanceOf", inputs=("address",), outputs=_NUMBER, result=int)
BALANCE_OF_AT = Function(name="balanceOfAt", inputs=_PAST, outputs=_NUMBER, result=int)
