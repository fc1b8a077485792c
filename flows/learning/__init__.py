"""Learning: training a version, updating it in steps, comparing, promoting, probation, approvals, outcomes."""
