"""Faces: detecting, aligning, embedding, judging them, and the models that do it."""
