"""Reproduction: grids of studies and the claims that are tested on them."""
