"""The catalog on disk: files, tables and generations."""
