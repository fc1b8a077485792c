"""The HTTP API under /api/v1: what it takes, what it answers, and how a request is done once."""
