"""fnd: a functions daemon. Give it functions, it keeps them hot."""

__version__ = "0.1.0"
