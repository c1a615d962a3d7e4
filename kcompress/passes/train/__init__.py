"""Passes that train the model, on labels or on what a teacher says."""
