"""`python -m kcompress.cli`."""

from kcompress.cli.program import main

main()
