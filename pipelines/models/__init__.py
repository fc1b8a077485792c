"""Models: features, splits, candidates, training, the ensemble, evaluation, and the folder a model is kept in."""
