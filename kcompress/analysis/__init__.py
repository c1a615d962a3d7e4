"""How sensitive each layer of a model is to pruning and to quantization."""
