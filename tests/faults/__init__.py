"""The suite behind `make faults`: everything that can go wrong on a machine is made to, while calls go on.

Each scenario ends with a count: calls sent, answered and failed and why, and what was left of containers: nothing.
docs/faults.md says what each one does and proves.
"""
