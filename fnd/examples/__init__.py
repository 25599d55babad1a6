"""Functions that work as they are: what `fnd init` makes, a directory for each runtime."""
