"""Compiled contracts: ABI, bytecode, compiler settings and source hash."""
