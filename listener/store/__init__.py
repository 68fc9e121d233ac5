"""The listener's own small store: its cursor and its open proposals."""
