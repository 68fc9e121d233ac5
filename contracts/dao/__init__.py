"""Which DAO an address is, and one typed face for reading all of them.

`probe(node, address)` tells the project's own ReputationDao, OpenZeppelin's Governor (4.x, 5.x) and Governor
Bravo apart and returns a `Dao`; what cannot be read exactly is refused by name. A `Dao` says which events to
watch and which calls to make, and decodes both; `votes_in` turns its logs into what each voter said. Must not
import the orchestrator: durability is its callers' business.
"""

from contracts.dao.clock import clock_of, governor_behind
from contracts.dao.errors import DaoError, UnknownClock, UnknownCounting, UnknownDao
from contracts.dao.face import (
    BLOCK_CLOCK,
    TIMESTAMP_CLOCK,
    Counting,
    CreatedProposal,
    Dao,
    DaoForm,
    DaoKind,
    Read,
    WeightSource,
    counting_of,
)
from contracts.dao.probe import probe
from contracts.dao.votes import Reduction, Vote, VoteEvent, decode_vote, votes_in

__all__ = [
    "BLOCK_CLOCK",
    "TIMESTAMP_CLOCK",
    "Counting",
    "CreatedProposal",
    "Dao",
    "DaoError",
    "DaoForm",
    "DaoKind",
    "Read",
    "Reduction",
    "UnknownClock",
    "UnknownCounting",
    "UnknownDao",
    "Vote",
    "VoteEvent",
    "WeightSource",
    "clock_of",
    "counting_of",
    "decode_vote",
    "governor_behind",
    "probe",
    "votes_in",
]
