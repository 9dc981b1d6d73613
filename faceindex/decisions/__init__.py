"""From similarities to decisions: what a catalog's own faces say of thresholds, and what a search may conclude."""
