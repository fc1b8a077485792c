"""Rows: from their source to canonical, validated, deduplicated frames."""
