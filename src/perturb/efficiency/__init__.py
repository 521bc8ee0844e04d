"""What a model costs to run: operations, parameters, time, memory; usable alone."""
