"""Questions that read and change nothing: status, why, predictions of one row, series for a picture."""
