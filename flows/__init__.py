"""Flows: what runs when and in what order; the stages of a tick, and everything that carries decisions out."""
