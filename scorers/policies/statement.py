"""Policies in writing and back: the statement that is hashed, and the parts that it names.

Both ways are exact: a statement that is not the very text of its parts is refused, so that no two
statements mean the same policy.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import lru_cache
from typing import Any, cast

from scorers.policies.base import Part, Rule, Weighting
from scorers.policies.catalogue import digest_of, known, name_of
from scorers.policies.errors import PolicyError
from scorers.policies.inputs import FirstVotes, Input, Participations, ReputationAt, VoteTimes
from scorers.policy import PolicyStatement, RuleStatement

TEXTS = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The inputs that a policy names, at most one of a kind."""

    reputation: ReputationAt | None = None
    participations: Participations | None = None
    first_votes: FirstVotes | None = None
    times: VoteTimes | None = None

    @property
    def anything(self) -> bool:
        """Whether there is anything to read."""
        return self != Asked()


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyParts:
    """A policy that can be applied; `asked` are the inputs of all its parts."""

    weighting: Weighting
    rules: tuple[Rule, ...]
    asked: Asked = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "asked", self._asked())

    def _asked(self) -> Asked:
        """Return the inputs of all parts. Raises PolicyError where two want different ones of a kind."""
        found: dict[str, Input] = {}
        for part in (self.weighting, *self.rules):
            for each in part.inputs():
                kind = _KINDS.get(type(each))
                if kind is None:
                    raise PolicyError(type(part).__qualname__, f"{each!r} is no input that can be read")
                if found.setdefault(kind, each) != each:
                    raise PolicyError(
                        type(part).__qualname__, f"it wants {each!r}, another part wants {found[kind]!r}"
                    )
        return Asked(**cast("Any", found))


_KINDS: Mapping[type, str] = {
    ReputationAt: "reputation",
    Participations: "participations",
    FirstVotes: "first_votes",
    VoteTimes: "times",
}


def state(weighting: Weighting, rules: Sequence[Rule] = ()) -> PolicyStatement:
    """Return a policy in writing. Raises PolicyError for a part that cannot be stated."""
    parts = PolicyParts(weighting=weighting, rules=tuple(rules))
    own = _stated(parts.weighting)
    return PolicyStatement(
        name=own.name,
        version=own.version,
        parameters=own.parameters,
        lists=own.lists,
        code=own.code,
        rules=[_stated(rule) for rule in parts.rules],
    )


def parts_of(statement: PolicyStatement) -> PolicyParts:
    """Return the parts that a statement names, among what is known here.

    Raises PolicyError for an unknown class, another version or code of it, and parameters that it refuses.
    """
    weighting = _made(statement, Weighting)
    rules = tuple(_made(rule, Rule) for rule in statement.rules)
    parts = PolicyParts(weighting=weighting, rules=rules)
    if state(weighting, rules) != statement:
        raise PolicyError(statement.name, "its parameters are not written as this policy writes them")
    return parts


def build(cls: type[Part], given: Mapping[str, object]) -> Part:
    """Return a part of a class with parameters as a configuration gives them. Raises PolicyError."""
    name = cls.NAME or cls.__qualname__
    hints = _hints(cls)
    unknown = sorted(set(given) - set(hints))
    if unknown:
        has = ", ".join(hints) or "none"
        raise PolicyError(name, f"it has no parameter {unknown[0]}: there are {has}")
    needed = {each.name for each in fields(cast("Any", cls)) if each.default is MISSING}
    if needed - set(given):
        raise PolicyError(name, f"it needs {', '.join(sorted(needed - set(given)))}")
    try:
        return cls(**{key: _READ[hints[key]](value) for key, value in given.items()})
    except KeyError as error:
        raise PolicyError(name, f"a parameter is int, str, bool or tuple[str, ...], not {error}") from error
    except (TypeError, ValueError) as error:
        raise PolicyError(name, str(error)) from error


def _made(stated: PolicyStatement | RuleStatement, kind: type[Any]) -> Any:
    cls = known(stated.name)
    if not issubclass(cls, kind):
        raise PolicyError(stated.name, f"it is no {kind.__name__.lower()}")
    if stated.version != cls.VERSION:
        raise PolicyError(stated.name, f"version {stated.version} is stated, here is {cls.VERSION}")
    if stated.code != digest_of(cls):
        raise PolicyError(stated.name, f"code {stated.code} is stated, here is {digest_of(cls)}")
    return build(cls, {**stated.parameters, **stated.lists})


def _stated(part: Part) -> RuleStatement:
    cls, name = type(part), name_of(part)
    parameters: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for parameter, hint in _hints(cls).items():
        value = getattr(part, parameter)
        write = _WRITTEN.get(hint)
        if write is None or type(value) is not (tuple if hint == TEXTS else hint):
            raise PolicyError(name, f"{parameter} = {value!r} is no int, str, bool or tuple[str, ...]")
        if hint == TEXTS:
            lists[parameter] = list(value)
        else:
            parameters[parameter] = write(value)
    return RuleStatement(
        name=name, version=cls.VERSION, parameters=parameters, lists=lists, code=digest_of(cls)
    )


@lru_cache(maxsize=256)
def _hints(cls: type[Part]) -> dict[str, Any]:
    """Return the declared types of a part's parameters, in their order."""
    if not is_dataclass(cls):
        raise PolicyError(cls.__qualname__, "it is no dataclass: write @dataclass(frozen=True, kw_only=True)")
    hints = typing.get_type_hints(cls)
    return {each.name: hints[each.name] for each in fields(cls)}


def whole_number(value: object) -> int:
    """Return a number as a configuration gives it: an int, or its decimal text. Raises ValueError."""
    if isinstance(value, str) and value.removeprefix("-").isascii() and value.removeprefix("-").isdigit():
        return int(value)
    if type(value) is not int:
        raise ValueError(f"{value!r} is no whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is no text")
    return value


def _truth(value: object) -> bool:
    if value in ("true", "false"):
        return value == "true"
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _texts(value: object) -> TEXTS:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{value!r} is no list")
    return tuple(_text(each) for each in value)


_READ: Mapping[Any, Callable[[object], object]] = {int: whole_number, str: _text, bool: _truth, TEXTS: _texts}
_WRITTEN: Mapping[Any, Callable[[Any], str]] = {
    int: str,
    str: str,
    bool: lambda value: "true" if value else "false",
    TEXTS: str,
}
