"""The benchmark behind `make bench`: fnd beside a bare reverse proxy, within one run on one machine.

Only ratios between things measured in alternation are judged, because nothing else means the same on two machines.
docs/benchmarks.md says how each figure is taken.
"""
