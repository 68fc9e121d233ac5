"""The policy as an operator writes it: a name, its parameters, and rules.

    [policy]
    name = "participation-adjusted"      # or "module:Class"
    minimum_weight = "1000000000000000000"
    last = 20

    [[policy.rules]]
    name = "deny-list"
    voters = ["0x…"]

Pure but for the modules of a user's own classes, which are imported here and nowhere else.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from scorers.policies.base import Rule, Weighting
from scorers.policies.catalogue import load
from scorers.policies.errors import PolicyError
from scorers.policies.reputation_weighted import ReputationWeighted
from scorers.policies.rules import MinimumWeight
from scorers.policies.statement import build, state, whole_number
from scorers.policy import AnyPolicy, Policy


class PartSettings(BaseModel):
    """A weighting or a rule: its name, and its parameters beside it."""

    model_config = ConfigDict(extra="allow", frozen=True, hide_input_in_errors=True)

    name: str = Field(min_length=1, max_length=200)

    @property
    def parameters(self) -> Mapping[str, object]:
        """What is written beside the name."""
        return self.model_extra or {}


class PolicySettings(PartSettings):
    """A policy. Votes lighter than `minimum_weight` never count; `rules` are asked in their order after that.

    As text it is a name, or the table as JSON.
    """

    minimum_weight: int = Field(default=1, ge=0, lt=2**256)
    rules: tuple[PartSettings, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        if not given.lstrip().startswith("{"):
            return {"name": given}
        try:
            return json.loads(given)
        except ValueError as error:
            raise ValueError(f"is no JSON ({error})") from None

    @field_validator("minimum_weight", mode="before")
    @classmethod
    def _is_exact(cls, given: object) -> int:
        return whole_number(given)  # a number with a point may have been rounded where it was read

    @model_validator(mode="after")
    def _exists(self) -> PolicySettings:
        try:
            policy_from(self)
        except PolicyError as error:
            raise ValueError(str(error)) from error
        return self


def policy_from(settings: PolicySettings | None) -> AnyPolicy:
    """Return the policy in writing; reputation-weighted without parameters is the one without configuration.

    Raises PolicyError for a name, a parameter or a module that cannot be used.
    """
    if settings is None:
        return Policy()
    cls = load(settings.name)
    plain = cls is ReputationWeighted and not settings.parameters and not settings.rules
    if plain and settings.minimum_weight >= 1:
        return Policy(minimum_weight=settings.minimum_weight)
    weighting = build(cls, settings.parameters)
    if not isinstance(weighting, Weighting):
        raise PolicyError(settings.name, "it is a rule: name it under rules")
    return state(weighting, [MinimumWeight(weight=settings.minimum_weight), *map(_rule, settings.rules)])


def _rule(settings: PartSettings) -> Rule:
    rule = build(load(settings.name), settings.parameters)
    if not isinstance(rule, Rule):
        raise PolicyError(settings.name, "it is no rule")
    return rule
