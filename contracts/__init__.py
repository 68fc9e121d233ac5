"""Everything that is on-chain or touches a node."""
