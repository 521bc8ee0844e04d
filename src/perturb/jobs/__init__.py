"""How a job runs: the fork server, GPU leases, signals, packs, progress, status."""
