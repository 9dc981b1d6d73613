"""Find people in large photo archives."""
