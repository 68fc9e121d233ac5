"""Playing an example from beginning to end, and what is remembered of it: the same for every audience."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

from examples.crash import CUT, LIVES
from examples.gallery.example import Example
from examples.spawning import Spawn, afresh
from examples.stage import INNER, STEPS, Fate, Stage, stage

CHATTER = ("working", "serving", "20", "INFO:", " * ", "\x1b", "127.0.0.1 - -", "=====", "(Press")
"""What programs and frameworks print beside the steps; "20" begins the lines of the log."""
LIFE_S_MIN = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What came of a play.

    `printed` counts the lines of the programs' steps, `steps` is what was executed: `started ID`,
    `finished ID`. `lives_s` tells how long those programs lived that may be killed, by number, `kills` how
    often one was. `root` is the invocation to draw, `unseen` how many steps may have
    been cut off of which no log knows, `cut` the command after which a program was cut, if one was.
    """

    result: str
    printed: Counter[str]
    steps: list[str]
    lives_s: Mapping[int, float]
    kills: int
    root: str
    unseen: int
    cut: str | None = None

    @property
    def repeated(self) -> int:
        """How many executions there were of steps that had been started before."""
        started = [line for line in self.steps if line.startswith("started ")]
        return len(started) - len(set(started)) + self.unseen


async def course(
    example: Example, folder: Path, fate: Fate, rest: Callable[[], Awaitable[None]] | None = None
) -> Course:
    """Play an example in a folder of its own; `rest` is awaited before its programs are ended.

    Raises ProgramFailed.
    """
    async with stage(folder, fate) as made:
        result = await example.play(made)
        if rest is not None:
            await rest()
    log = folder / STEPS
    kills = sum(program.killed for program in made.programs) + _inner_kills(made, fate)
    return Course(
        result=result,
        printed=Counter(line for line in made.printed if line and not line.startswith(CHATTER)),
        steps=log.read_text(encoding="utf-8").splitlines() if log.exists() else [],
        lives_s=_lives_s(made),
        kills=kills,
        root=made.root or example.root,
        unseen=example.unseen * max(kills, made.crashing),
        cut=cut.read_text(encoding="utf-8") if (cut := folder / CUT).exists() else None,
    )


def _lives_s(made: Stage) -> dict[int, float]:
    lives_s = {number: made.programs[number].lived_s for number in made.victims}
    if made.holds_inner:
        lives_s[INNER] = max(program.lived_s for program in made.programs)
    return lives_s


def _inner_kills(made: Stage, fate: Fate) -> int:
    """Return how often a program died that another one had started: all its lives but the last one."""
    if fate.cut is not None and fate.cut.program == INNER:
        return int((made.folder / CUT).exists())
    left = made.folder / LIVES
    if not left.exists():
        return 0
    begun = len((fate.lives_s or {}).get(INNER, ())) - len(left.read_text(encoding="utf-8").splitlines())
    return max(0, begun - 1)


def fate_by_chance(known: Course, chance: Random, kills: int, spawn: Spawn, part: float = 1.0) -> Fate:
    """Return a fate in which programs are killed so often, each at a moment of its known life.

    What goes on where it was killed has less left: its next life is drawn from a shorter time. `part` is how
    much of a life is drawn from, should the machine be faster than it was.
    """
    lives_s: dict[int, list[float]] = {}
    for number in chance.choices(sorted(known.lives_s), k=kills):
        lives = lives_s.setdefault(number, [])
        most_s = known.lives_s[number] * part / (1 + len(lives))
        lives.append(chance.uniform(LIFE_S_MIN, max(LIFE_S_MIN, most_s)))
    return Fate(lives_s=lives_s, spawn=spawn)


def faults(killed: Course, known: Course) -> list[str]:
    """Return what differs from the undisturbed course, beyond what a kill may do.

    A step that is cut off is executed again, so that its line may be printed once more; a step whose outcome
    is recorded is not (W1). A program that is started again says its last line again.
    """
    found = []
    if killed.result != known.result:
        found.append(f"it came to {killed.result!r}, undisturbed to {known.result!r}")
    finished: set[str] = set()
    for line in killed.steps:
        what, promise_id = line.split(" ", maxsplit=1)
        if what == "finished":
            finished.add(promise_id)
        elif promise_id in finished:
            found.append(f"{promise_id} was executed again, although its outcome was recorded")
    if missing := set(known.printed) - set(killed.printed):
        found.append(f"missing: {sorted(missing)}")
    more = killed.printed - known.printed
    if more.total() > killed.repeated + killed.kills:
        found.append(f"{killed.repeated} steps were executed again, but these lines are more: {dict(more)}")
    if strange := set(killed.printed) - set(known.printed):
        found.append(f"never printed undisturbed: {sorted(strange)}")
    return found


async def drawing(example: Example, folder: Path, root: str, spawn: Spawn = afresh) -> str:
    """Return the call graph of a play's invocation as `dao-scorer tree` draws it."""
    async with stage(folder, Fate(spawn=spawn)) as made:
        drawn = await _tree(made, example, root)
    return drawn.replace(root, example.root)


async def _tree(made: Stage, example: Example, root: str) -> str:
    url = await made.server(store=example.store)
    drawn = await made.command("tree", root, "--server", url)
    await drawn.result()
    return "\n".join(drawn.lines)
