"""Passes that make one model of several."""
