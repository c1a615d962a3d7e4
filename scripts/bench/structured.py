"""Structured pruning of the architectures of keras.applications: what can go, how exact a cut is, and what it takes.

    python scripts/bench/structured.py --speed            # about 2 minutes; Linux only
    python scripts/bench/structured.py --all              # all 38, about 15 minutes
    python scripts/bench/structured.py --all MobileNet    # those whose name begins so

`--all` drops about 30 % of the units at random and compares the outputs with those of the whole model in which nothing
reads the dropped channels. Kernels are random and statistics of batch normalization as after training. The goal is a
relative difference of 1e-4. `--speed` (the default) times the analysis and the rebuilding of three depths of ResNet;
the goals are 3 s together for ResNet50, as long for each layer whatever the depth, and a peak of memory of at most 3
times the model's bytes above what it takes to build the model.
"""

import resource
import sys
import time
from collections import Counter
from pathlib import Path

from kcompress import backend

keras = backend.load("tensorflow")
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import click
import numpy as np

from kcompress.graph.channels import channels
from kcompress.graph.cut import cut
from scripts.bench._peak import peak_bytes
from tests.graph.cutting import architecture, assert_only_sizes_differ, difference, some_units, zeroed

SHARE = 0.3
LARGER = ("Inception", "Xception", "NASNet")  # these need inputs of more than 64 pixels
DEPTHS = ("ResNet50", "ResNet101", "ResNet152")
STEPS = {
    "built": "",
    "cut": "found = channels(model); cut(model, found, some_units(found, 0, 0.3))",
}


def names(prefixes: tuple[str, ...]) -> list[str]:
    every = [n for n in dir(keras.applications) if n[0].isupper()]
    return [n for n in every if n.startswith(prefixes or ("",))]


def survives(name: str) -> None:
    size = 96 if name.startswith(LARGER) else 64
    samples = np.random.default_rng(0).uniform(0, 255, (4, size, size, 3)).astype(np.float32)
    model = architecture(name, size, samples)
    started = time.perf_counter()
    found = channels(model)
    analysis = time.perf_counter() - started
    dropped = some_units(found, 0, SHARE)
    started = time.perf_counter()
    twin = cut(model, found, dropped)
    rebuild = time.perf_counter() - started
    whole = zeroed(model, found, dropped)
    moved, changed = difference(whole, twin, [samples]), difference(model, twin, [samples])
    try:
        assert_only_sizes_differ(model, twin, found, dropped)
        kept = "names, order and settings survive"
    except AssertionError as error:
        kept = f"NOT THE SAME: {' '.join(str(error).split())[:200]}"
    pinned = found.units.pinned
    reasons = [f"{count} {why}" for why, count in Counter(pinned.values()).most_common(3)]
    print(
        f"{name}: {found.units.count} units, {len(pinned)} pinned, {int(dropped.sum())} dropped, parameters kept "
        f"{twin.count_params() / model.count_params():.2f}, analysis {analysis:.2f} s, rebuild {rebuild:.2f} s, "
        f"relative difference {moved:.1e} (to the model before: {changed:.1f}), {kept}\n"
        f"    pinned: {'; '.join(reasons)}",
        flush=True,
    )


def coverage(prefixes: tuple[str, ...]) -> None:
    for name in names(prefixes):
        started = time.perf_counter()
        survives(name)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        print(f"    {time.perf_counter() - started:.0f} s in all, peak so far {peak / 1e9:.1f} GB", flush=True)
        keras.backend.clear_session()


def speed() -> None:
    for name in DEPTHS:
        model = getattr(keras.applications, name)(weights=None)
        layers = len(model.layers)
        started = time.perf_counter()
        found = channels(model)
        analysis = time.perf_counter() - started
        dropped = some_units(found, 0, SHARE)
        started = time.perf_counter()
        cut(model, found, dropped)
        rebuild = time.perf_counter() - started
        print(
            f"{name}: analysis {analysis:.2f} s, rebuild {rebuild:.2f} s, together "
            f"{1000 * (analysis + rebuild) / layers:.1f} ms for each of {layers} layers",
            flush=True,
        )
        keras.backend.clear_session()
    for name in DEPTHS[::2]:
        script = (
            "import sys; sys.path.insert(0, '.'); from kcompress import backend; keras = backend.load('tensorflow'); "
            "from kcompress.graph.channels import channels; from kcompress.graph.cut import cut; "
            f"from tests.graph.cutting import some_units; model = keras.applications.{name}(weights=None); "
        )
        built, done = (peak_bytes("-c", script + step) for step in STEPS.values())
        size = 4 * getattr(keras.applications, name)(weights=None).count_params()
        print(
            f"{name}: {size / 1e6:.0f} MB; peak {built / 1e6:.0f} MB built, {done / 1e6:.0f} MB cut, "
            f"the difference is {(done - built) / size:.2f} times the model",
            flush=True,
        )


@click.command()
@click.option("--all", "everything", is_flag=True, help="Cut every architecture, or those whose names begin so.")
@click.option("--speed", "timed", is_flag=True, help="Time and memory of ResNets; the default.")
@click.argument("prefixes", nargs=-1)
def main(everything: bool, timed: bool, prefixes: tuple[str, ...]) -> None:
    if timed or not everything:
        speed()
    if everything:
        coverage(prefixes)


if __name__ == "__main__":
    main()
