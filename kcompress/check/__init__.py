"""The size gate. It runs at every commit and must start at once, so it imports the standard library and click only."""
