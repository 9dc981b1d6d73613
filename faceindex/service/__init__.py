"""The labelling pages and the HTTP API."""
