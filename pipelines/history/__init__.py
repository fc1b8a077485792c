"""A project's history in memory, and refits on parts of it; what a backtest works on."""
