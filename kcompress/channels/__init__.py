"""Which axes of tensors and weights share a channel, and the model without some of its channels."""
