"""Passes that even out the ranges of weights without changing what the model computes."""
