"""`python -m esmd` is the `esmd` command."""

from esmd.cli import main

main()
