"""Estimated performance where labels are missing, with an interval."""
