"""Prefect: ticks as flow runs, deployments, automations, the runner, and replays that the Prefect UI shows."""
