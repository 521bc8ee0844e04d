"""One file per update rule: its `Rule`, and literals that are read without importing the file.

`PARAMETERS` are the numbers of its name and their defaults. `POSITIONAL` says how many of them
stand as numbers of their own, one where it is left out. `SECOND_PASS` says how often it computes a
gradient at w + e (`perturb.names.second_passes`).
"""
