"""Which classes a policy may name: those of this package, and those of modules that an operator configured.

A bundle may name any class and can make none run: only `load`, which a configuration or a command's own
argument leads to, imports a module. What is looked up otherwise is looked up among what was loaded before.
"""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from scorers.policies.base import Part, Rule, Weighting
from scorers.policies.errors import PolicyError
from scorers.policies.participation_adjusted import ParticipationAdjusted
from scorers.policies.quadratic import Quadratic
from scorers.policies.reputation_weighted import ReputationWeighted
from scorers.policies.rules import AllowList, DenyList, FirstVoteBefore, MinimumWeight
from scorers.policies.time_decayed import TimeDecayed
from scorers.policies.token_weighted import TokenWeighted

WEIGHTINGS: tuple[type[Weighting], ...] = (
    TokenWeighted,
    ReputationWeighted,
    Quadratic,
    ParticipationAdjusted,
    TimeDecayed,
)
RULES: tuple[type[Rule], ...] = (MinimumWeight, FirstVoteBefore, AllowList, DenyList)
_OWN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_known: dict[str, type[Part]] = {cls.NAME: cls for cls in (*WEIGHTINGS, *RULES)}


def name_of(part: Part) -> str:
    """Return the name under which a part is stated; one of a user's own module becomes known by this."""
    cls = type(part)
    if _known.get(cls.NAME) is cls:
        return cls.NAME
    if cls.__module__ == "__main__":
        raise PolicyError(cls.__qualname__, "it stands in the program itself: move it to a module of its own")
    name = f"{cls.__module__}:{cls.__qualname__}"
    _known[name] = cls
    return name


def load(name: str) -> type[Part]:
    """Return a class by its name, importing the module of one that is written `module:Class`.

    Only for names that the operator gave. Raises PolicyError.
    """
    if not _OWN.fullmatch(name):
        return known(name)
    path, _, attribute = name.partition(":")
    if "" not in sys.path:
        sys.path.insert(0, "")  # a user's module lies where the command is run
    try:
        found = getattr(importlib.import_module(path), attribute, None)
    except ImportError as error:
        raise PolicyError(name, f"cannot import {path} ({error}): run this where the module lies") from error
    if not (isinstance(found, type) and issubclass(found, Part)) or inspect.isabstract(found):
        raise PolicyError(name, f"{path} has no class {attribute} that is a Weighting or a Rule")
    _known[name] = found
    return found


def known(name: str) -> type[Part]:
    """Return a class that is known here. Raises PolicyError."""
    found = _known.get(name)
    if found is None:
        names = ", ".join(cls.NAME for cls in WEIGHTINGS)
        reason = (
            "its module is not loaded here: give it in the configuration, or by --policy-class"
            if _OWN.fullmatch(name)
            else f"there is no such policy or rule: known are {names}, and module:Class"
        )
        raise PolicyError(name[:80], reason)
    return found


@lru_cache(maxsize=256)
def digest_of(cls: type[Part]) -> str:
    """Return the SHA-256 of the file in which a class stands, line ends as LF. Raises PolicyError."""
    try:
        content = Path(inspect.getfile(cls)).read_bytes()
    except (OSError, TypeError) as error:
        raise PolicyError(cls.__qualname__, f"its source cannot be read ({error})") from error
    return "0x" + sha256(content.replace(b"\r\n", b"\n")).hexdigest()
