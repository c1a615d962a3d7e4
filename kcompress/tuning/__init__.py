"""The search for the settings that make a model smallest within budgets."""
