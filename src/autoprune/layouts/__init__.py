"""Which layers are kept: layouts and the fixed strategies that name them. Pure Python."""
