"""Training: what to learn from labels, and how."""
