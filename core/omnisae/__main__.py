"""`python -m omnisae` is `omnisae`."""

from omnisae.cli import main

main(prog_name="omnisae")
