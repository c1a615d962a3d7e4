"""Who carries out the trials of a search: this process, processes beside it, or a Ray cluster."""
