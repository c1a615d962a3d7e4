"""The size gate. It runs at every commit, so it imports the standard library and click only."""
