"""A new project: guessed from a data file, and checked before anything runs on it."""
