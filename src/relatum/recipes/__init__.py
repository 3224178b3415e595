"""Recipes: a run is a frozen set of names and numbers; an experiment is a function of them."""
