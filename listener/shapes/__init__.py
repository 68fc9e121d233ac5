"""The kinds of contracts that a listener reads."""

from listener.shapes.dao import DaoShape
from listener.shapes.port import Canceled, Invocation, Shape, VoteState, Voting

__all__ = ["Canceled", "DaoShape", "Invocation", "Shape", "VoteState", "Voting"]
