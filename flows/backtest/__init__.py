"""Backtest: a project's history under many retraining policies, side by side."""
