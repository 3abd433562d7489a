"""Dataset cards: what is in a dataset and what is wrong with it, for people and for machines."""
