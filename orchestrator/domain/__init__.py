"""The pure core: ids, states and transitions, addresses, retry policies, errors."""
