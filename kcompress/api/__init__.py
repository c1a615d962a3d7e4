"""The Python API, a module for each verb: compress, compare, inspect, ensemble, search, sensitivity."""
