"""Ensembles of networks, and the paths between them; each module is usable alone.

`predictions`: averages and scores. `schedules`: learning rates that restart. `members`: snapshots,
FGE, SWA. `paths`: barriers along lines and Bezier curves. `matching`: permutations of units.
`wgd`: repulsive ensembles by Wasserstein gradient descent.
"""
