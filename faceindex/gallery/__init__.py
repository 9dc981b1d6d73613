"""The searchable index over all faces."""
