"""Arrays in, arrays out: NumPy only, nothing of Keras, files or passes."""
