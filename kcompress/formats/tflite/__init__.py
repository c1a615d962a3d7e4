"""`.tflite` files: written, run by LiteRT, described."""
