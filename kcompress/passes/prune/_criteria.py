import numpy as np


def score(criterion, model, channels, groups, ctx, samples):
    out = np.zeros(channels.units.count)
    if criterion == "random":
        return np.random.default_rng(ctx.seed).random(channels.units.count)
    for s in channels.slices.values():
        if "kernel" not in s.variable.name:
            continue
        v = np.abs(np.asarray(s.variable))
        for n, a in enumerate(s.axes):
            if a is not None and n not in s.reads:
                p = v.sum(tuple(i for i in range(v.ndim) if i != n))
                out += channels.units.sums(a, p / p.mean())
    for g in groups:
        out[g] /= out[g].mean() or 1
    return out
