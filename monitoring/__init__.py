"""Monitoring: is the model still good; performance, drift, alarms, retraining decisions, alerts, reports."""
