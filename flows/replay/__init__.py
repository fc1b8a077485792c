"""Replay: the loop over history with a simulated clock, its summary, and how its end becomes the live state."""
