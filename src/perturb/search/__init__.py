"""Searches over settings of runs, for any study; usable without Snakemake.

A search is a chain of stages (`settings`). A stage lists its trials in steps (`steps`): a trial is
a run, called by its name, so that trials are shared, resumed, traced and verified as runs are.
"""
