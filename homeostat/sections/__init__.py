"""The sections of the project file: their keys, defaults and stated limits."""
