"""Layouts: which layers are kept, and the fixed strategies that name them. Pure Python."""
