"""One file per base optimiser: what makes a step of the weights from a rule's direction.

A file has its `OPTIONS` and their defaults (a literal, read at planning time by `perturb.bases`),
the names of its `VECTORS` and `COUNTERS`, and `descend`: see `perturb.optim.optimizer.Base`.
"""
