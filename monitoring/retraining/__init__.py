"""Whether retraining pays, by which policy, and whether what came of it is on probation."""
