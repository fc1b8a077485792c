"""Pipelines: frames in, frames out; the data, the models and the labels."""
