"""What a run is: what is checked before it, the passes one after the other, going on after a kill, budgets, files."""
