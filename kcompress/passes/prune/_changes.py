def described(channels, node, dropped):
    parts = []
    for s in channels.sources:
        if s.layer == node.name:
            k = channels.kept(s.ids, dropped)
            if k < len(s.ids):
                parts.append(f"{s.what} {len(s.ids)} to {k}")
    for w in node.kernels:
        s = channels.slices.get(id(w.variable))
        if s is None:
            continue
        for n in sorted(s.reads):
            if s.axes[n] is not None:
                k = channels.kept(s.axes[n], dropped)
                if k < len(s.axes[n]):
                    parts.append(f"inputs {len(s.axes[n])} to {k}")
    return ", ".join(dict.fromkeys(parts)) or None
