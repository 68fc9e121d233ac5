"""The steps of a scoring, each one committed: the leaves of the tree whose root goes on-chain."""
