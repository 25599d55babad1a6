"""DOES: the trio shell around the decisions of fnd.dispatch."""
