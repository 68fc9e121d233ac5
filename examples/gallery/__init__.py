"""All examples: the problem of each, and how it is played, with or without a crash."""

from examples.gallery import composition, data, first_steps, outside_world
from examples.gallery.example import Example

EXAMPLES = (*first_steps.EXAMPLES, *composition.EXAMPLES, *outside_world.EXAMPLES, *data.EXAMPLES)

__all__ = ["EXAMPLES", "Example"]
