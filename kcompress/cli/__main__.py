"""`python -m kcompress.cli`."""

from kcompress.cli.main import main

main()
