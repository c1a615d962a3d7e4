"""Figures about files, each measured by the runtime that will run the file: size, quality, latency, memory."""
