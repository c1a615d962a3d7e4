"""SavedModel folders: run by TensorFlow, described."""
