"""Registry: which model, and why that one; MLflow, packing, comparison and promotion."""
