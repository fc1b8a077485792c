"""What a service is called, on a screen and on the page."""

from __future__ import annotations

TITLES = {"prefect": "Prefect", "mlflow": "MLflow", "console": "Console", "runner": "Runner"}


def title_of(name: str) -> str:
    """A service's name as people write it.

    >>> title_of("mlflow-orders")
    'MLflow orders'
    """
    kind, _, of = name.partition("-")
    return f"{TITLES.get(kind, kind)} {of}".strip()
