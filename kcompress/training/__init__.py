"""What passes that look at labels share: the loss."""
