"""What a search found, and what it writes."""
