"""What stands between a trained model and a file: how each weight is to be stored, and the model that computes so."""
