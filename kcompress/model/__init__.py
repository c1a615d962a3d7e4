"""A Keras model as a graph: its layers by qualified name, the calls between them, its cost, and copies of it."""
