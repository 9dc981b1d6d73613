"""Error rates and the thresholds made from them."""
