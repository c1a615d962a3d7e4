"""The table of results in the README: the fixtures before and after a few recipes, as Markdown.

    python scripts/bench/results.py            # about 5 minutes on two cores

Bytes and accuracy (on the fixtures' 2,000 test images) are those of the written files.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import kcompress

FIXTURES = ROOT / "fixtures"
FOLD, INT8 = "fold.batchnorm", "quantize.int8"
FOUR_BITS = "quantize.weights:bits=4,rounding=gptq,ranges=output"
HALF = ("prune.structured:macs=0.5,criterion=taylor", "train.distill:epochs=5")
SPARSE = ("prune.magnitude:sparsity=0.9,ranking=global,schedule=polynomial", "train.distill:epochs=10")
WHOLE = (FOLD, INT8)
ROWS = (
    ("resnet8.keras", "int8 `.tflite`", ".tflite", WHOLE),
    ("resnet8.keras", "int8 `.onnx`", ".onnx", WHOLE),
    ("resnet8.keras", "4-bit weights, int8 `.tflite`", ".tflite", (FOLD, "equalize.cross_layer", FOUR_BITS, INT8)),
    ("resnet8.keras", "half the multiply-adds, distilled, int8 `.tflite`", ".tflite", (*HALF, *WHOLE)),
    ("mobilenet.keras", "int8 `.tflite`", ".tflite", WHOLE),
    ("lenet5.h5", "int8 `.tflite`", ".tflite", (INT8,)),
    ("lenet300.keras", "90 % zeros, distilled, 4-bit `.keras`", ".keras", (*SPARSE, "quantize.weights:bits=4")),
    (
        "lenet300.keras",
        "binary, distilled, `.onnx`",
        ".onnx",
        ("quantize.binary:skip=[head]", "train.distill:epochs=5"),
    ),
)


def main() -> None:
    print("| model | recipe | bytes | times smaller | accuracy before | after |")
    print("|---|---|---:|---:|---:|---:|")
    with tempfile.TemporaryDirectory() as folder:
        for number, (model, what, suffix, passes) in enumerate(ROWS):
            output = Path(folder, f"{number}{suffix}")
            report = kcompress.compress(FIXTURES / model, output, passes=passes, data=FIXTURES / "fashion_mnist.npz")
            before, after, quality = report.source.bytes, report.artifact.bytes, report.quality
            row = (model, what, f"{before:,} to {after:,}", f"{before / after:.1f}")
            print("|", " | ".join((*row, f"{quality.source:.2%}", f"{quality.artifact:.2%}")), "|", flush=True)


if __name__ == "__main__":
    main()
