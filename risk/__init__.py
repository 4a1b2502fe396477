"""Risk of a charge: features, model, policy, and the training of the model."""
