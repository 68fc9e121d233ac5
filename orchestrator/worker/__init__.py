"""The worker: claims tasks, executes them, renews their leases, drains."""
