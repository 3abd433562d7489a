"""Clusters of similar pictures, of each label and of all labels."""
