"""All examples: the problem of each, and how it is played, with or without a crash."""

from examples.gallery import agents, composition, data, first_steps, outside_world, shapes, time, trust
from examples.gallery.example import Example

THEMES = (first_steps, composition, time, outside_world, data, trust, shapes, agents)
EXAMPLES = tuple(example for theme in THEMES for example in theme.EXAMPLES)

__all__ = ["EXAMPLES", "THEMES", "Example"]
