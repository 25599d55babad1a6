"""The `fnd` command: one file per noun, each loaded only when its command runs."""
