"""Who shares which channel: identities of channels, the rules that follow them, and the model without some of them."""
