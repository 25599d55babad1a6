"""Replays arrivals through the real dispatcher under virtual time, and tells what came of it: `fnd simulate`.

A scenario (the machine, its functions, who calls them) is run once for each policy. What decides is fnd.dispatch
itself; only containers, runs and the clock are numbers. docs/simulation.md has the format and the words.
"""
