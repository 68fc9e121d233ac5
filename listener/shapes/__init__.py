"""The kinds of contracts that a listener reads."""

from listener.shapes.dao import DaoShape
from listener.shapes.event import EventHandler, EventShape
from listener.shapes.port import Invocation, Shape, Touched, VoteState, Voting

__all__ = [
    "DaoShape",
    "EventHandler",
    "EventShape",
    "Invocation",
    "Shape",
    "Touched",
    "VoteState",
    "Voting",
]
