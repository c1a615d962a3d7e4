"""`.onnx` files: written, run by ONNX Runtime, described."""
