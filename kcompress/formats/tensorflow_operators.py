"""TensorFlow operators that Keras 2 models hold as TFOpLambda layers, and the Keras 3 operation for each.

A TFOpLambda names any function of TensorFlow; only these, which do nothing but arithmetic, are let through.
"""

OPERATORS = {
    "__operators__.add": "add",
    "math.truediv": "divide",
    **{f"math.{name}": name for name in ("add", "subtract", "multiply", "divide", "maximum", "minimum")},
    **{f"math.{name}": name for name in ("exp", "sigmoid", "square", "tanh")},
    **{f"nn.{name}": name for name in ("relu", "relu6", "sigmoid", "silu", "softmax")},
}
