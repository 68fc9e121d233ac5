"""Durable promises, tasks and workflows: the engine, its SDK and its server. Knows no chain."""
