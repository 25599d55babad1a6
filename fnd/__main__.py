"""`python -m fnd` is `fnd`."""

from fnd.cli.main import main

main()
