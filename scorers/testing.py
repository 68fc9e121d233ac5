"""The test kit for policies of one's own: whether they are pure, exact, and everywhere the same.

    assert_policy(CappedWeight(cap=1_000), rules=[NoAbstention()])

Asked is what can be asked from outside: the source uses nothing inexact or impure; the statement is read
back as the very same policy; equal votes weigh the same in any order, again, and in another process with
other hash seeds; every weight is an int of 256 bits. Whether the formula is the right one is its author's
to test.
"""

from __future__ import annotations

import ast
import inspect
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

from orchestrator.client import codec
from scorers.policies.base import Rule, Weighting
from scorers.policies.catalogue import load
from scorers.policies.errors import PolicyError
from scorers.policies.facts import NamedInputs, VoteFacts
from scorers.policies.inputs import Participations
from scorers.policies.statement import PolicyParts, parts_of, state
from scorers.policy import PolicyStatement
from scorers.steps.weighing import objection_of, weight_of

CASES = 200
CHILD_TIMEOUT_S = 60
ALLOWED = frozenset(
    (
        *("__future__", "abc", "bisect", "collections", "dataclasses", "enum", "fractions", "functools"),
        *("itertools", "math", "operator", "re", "scorers.policies", "typing"),
    )
)
"""What the file of a policy may import."""
EXACT = frozenset({"ceil", "comb", "factorial", "floor", "gcd", "isqrt", "lcm", "perm", "prod"})
"""What it may take from `math`; `floor` and `ceil` are exact for fractions."""
DIVISIONS = frozenset({"truediv", "itruediv", "__truediv__", "__rtruediv__", "__float__"})
"""What makes a float of integers under another name than `/`."""
REFUSED = frozenset(
    (
        *("breakpoint", "compile", "complex", "delattr", "eval", "exec", "float", "getattr", "globals"),
        *("hash", "id", "input", "locals", "memoryview", "open", "print", "round", "setattr", "vars"),
        "__import__",
    )
)
"""Builtins that are inexact, differ between runs, or reach outside."""


def assert_policy(
    weighting: Weighting, *, rules: Sequence[Rule] = (), cases: int = CASES, seed: int = 1
) -> None:
    """Raise AssertionError that lists every fault of a policy; `seed` chooses the votes it is tried with."""
    faults = faults_of(weighting, rules=rules, cases=cases, seed=seed)
    if faults:
        raise AssertionError(f"{len(faults)} faults, votes of seed {seed}:\n" + "\n".join(faults))


def faults_of(
    weighting: Weighting, *, rules: Sequence[Rule] = (), cases: int = CASES, seed: int = 1
) -> list[str]:
    """Return what is wrong with a policy, each fault in one line; nothing for a good one."""
    faults = [fault for cls in {type(part) for part in (weighting, *rules)} for fault in _source_faults(cls)]
    try:
        statement = state(weighting, rules)
        parts = parts_of(statement)
        if state(parts.weighting, parts.rules) != statement:
            faults.append("the statement is read back as another policy")
        votes = votes_for(parts, cases, seed)
        before = treated(parts, votes)
        if list(reversed(treated(parts, list(reversed(votes))))) != before or treated(parts, votes) != before:
            faults.append("the same vote is treated differently the next time, or in another order")
        faults += _elsewhere(statement, cases, seed, before)
    except PolicyError as error:
        faults.append(str(error))
    return faults


def votes_for(parts: PolicyParts, cases: int, seed: int) -> list[VoteFacts]:
    """Return votes by chance, with exactly the inputs that a policy names, the extremes among them."""
    chance = random.Random(seed)  # noqa: S311 - no secret: it has to be the same again
    return [_vote(parts, chance) for _ in range(cases)]


def treated(parts: PolicyParts, votes: Sequence[VoteFacts]) -> list[str]:
    """Return what a policy makes of each vote: its weight in decimal, or the objection.

    Raises PolicyError for a weight or an objection that is none, and where the policy itself raises.
    """
    return [_treated(parts, vote) for vote in votes]


def _treated(parts: PolicyParts, vote: VoteFacts) -> str:
    weight = str(weight_of(parts.weighting, vote))
    objections = [objection_of(rule, vote) for rule in parts.rules]
    return next((f"left out: {reason}" for reason in objections if reason is not None), weight)


def _vote(parts: PolicyParts, chance: random.Random) -> VoteFacts:
    asked = parts.asked
    entitled = _amount(chance)
    closed = _closed(asked.participations, chance)
    return VoteFacts(
        voter=f"0x{chance.getrandbits(160):040x}",
        support=chance.choice((0, 1, 2)),
        weight=entitled if chance.random() < 0.7 else chance.randint(0, entitled),
        entitled=entitled,
        overriding=chance.random() < 0.1,
        named=NamedInputs(
            reputation=_amount(chance) if asked.reputation else None,
            closed=closed if asked.participations else None,
            taken_part=chance.randint(0, closed) if asked.participations else None,
            voted_before=chance.random() < 0.5 if asked.first_votes else None,
            age_s=chance.choice((0, 1, chance.randint(0, 10**7))) if asked.times else None,
        ),
    )


def _amount(chance: random.Random) -> int:
    return chance.choice((0, 1, 2**208 - 1, chance.getrandbits(70), chance.getrandbits(208)))


def _closed(asked: Participations | None, chance: random.Random) -> int:
    return chance.choice((0, 1, asked.last, chance.randint(0, asked.last))) if asked else 0


# -- in another process


def _elsewhere(statement: PolicyStatement, cases: int, seed: int, here: Sequence[str]) -> Iterator[str]:
    """Yield a fault if another process, where sets have another order, treats a vote differently."""
    given = json.dumps({"statement": codec.encode(statement, "policy"), "cases": cases, "seed": seed})
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    hash_seed = "2" if os.environ.get("PYTHONHASHSEED") == "1" else "1"
    done = subprocess.run(
        [sys.executable, "-m", "scorers.testing"],
        input=given,
        capture_output=True,
        text=True,
        timeout=CHILD_TIMEOUT_S,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": path},
        check=False,
    )
    if done.returncode:
        yield f"it fails in another process: {done.stderr.strip().splitlines()[-1:]}"
    elif done.stdout.strip() != _digest(here):
        yield f"another process (PYTHONHASHSEED={hash_seed}) treats the same votes differently"


def _digest(answers: Sequence[str]) -> str:
    return sha256("\n".join(answers).encode()).hexdigest()


def _child() -> None:
    given = json.loads(sys.stdin.read())
    statement: PolicyStatement = codec.decode(given["statement"], PolicyStatement, "policy")
    for name in (statement.name, *(rule.name for rule in statement.rules)):
        load(name)
    parts = parts_of(statement)
    sys.stdout.write(_digest(treated(parts, votes_for(parts, given["cases"], given["seed"]))))


# -- the source


def _source_faults(cls: type) -> Iterator[str]:
    try:
        file = Path(inspect.getfile(cls))
        tree = ast.parse(file.read_text(encoding="utf-8"))
    except (OSError, TypeError, SyntaxError) as error:
        yield f"the source of {cls.__qualname__} cannot be read: {error}"
        return
    for node in ast.walk(tree):
        for fault in _faults_in(node):
            yield f"{file.name} line {getattr(node, 'lineno', 0)}: {fault}"


def _faults_in(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (_not_allowed(alias.name) for alias in node.names if not _allowed(alias.name))
        yield from (
            f"it imports math as {each.asname}: leave it its name, or its functions cannot be told"
            for each in node.names
            if each.name == "math" and each.asname not in (None, "math")
        )
    elif isinstance(node, ast.ImportFrom):
        module = node.module or "."
        if node.level or not _allowed(module):
            yield _not_allowed("." * node.level + module)
        elif module == "math":
            yield from (f"math.{each.name} is not exact" for each in node.names if each.name not in EXACT)
        else:
            yield from (_DIVIDES.format(each.name) for each in node.names if each.name in DIVISIONS)
    elif isinstance(node, ast.Constant) and isinstance(node.value, float | complex):
        yield f"{node.value!r} is no whole number"
    elif isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
        yield _DIVIDES.format("/")
    elif isinstance(node, ast.Attribute) and node.attr in DIVISIONS:
        yield _DIVIDES.format(node.attr)
    elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "math":
        if node.attr not in EXACT:
            yield f"math.{node.attr} is not exact"
    elif isinstance(node, ast.Name) and node.id in REFUSED:
        yield f"{node.id} is inexact, differs between runs, or reaches outside"
    elif isinstance(node, ast.Global | ast.Nonlocal | ast.AsyncFunctionDef | ast.Await):
        yield "a policy keeps nothing and awaits nothing"


_DIVIDES = "{} makes a float of integers: write //, or use fractions"


def _allowed(module: str) -> bool:
    return any(module == each or module.startswith(f"{each}.") for each in ALLOWED)


def _not_allowed(module: str) -> str:
    return f"it imports {module}: allowed are {', '.join(sorted(ALLOWED))}"


if __name__ == "__main__":
    _child()
