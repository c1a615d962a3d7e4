"""Passes that merge layers into their neighbours without changing what the model computes."""
