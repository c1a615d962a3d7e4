"""What training minimizes: losses on labels, and on what teachers give."""
