"""Merkle commitments to the steps of a workflow: canonical encoding, leaf, tree, proof."""
