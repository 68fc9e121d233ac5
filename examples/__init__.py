"""Short programs, each for one problem; `python -m examples` runs them all."""
