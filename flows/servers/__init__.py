"""The Prefect and MLflow servers a project runs on: adopted where the environment names one, else started here."""
