"""Audits: what a folder of result files, somebody else's or one's own, can carry."""
