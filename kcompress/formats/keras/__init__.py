"""`.keras` files: read, write, run, describe."""
