"""Batches of photos turned into data files, on one process or many."""
