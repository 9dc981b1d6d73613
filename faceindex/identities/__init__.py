"""Who is who: what people said of faces, kept for good, and what follows from it."""
