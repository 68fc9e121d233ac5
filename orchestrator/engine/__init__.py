"""The durable engine: a handler per operation, group commit, one tick for all timers, delivery."""
