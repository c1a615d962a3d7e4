"""The structure of a Keras model: its layers by qualified name, its kernels, and copies of it."""
