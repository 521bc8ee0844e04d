"""One function per figure: it takes what the runs left and returns a matplotlib Figure.

`catalogue` names the figures without importing matplotlib; `registry.FIGURES` draws them.
"""
