"""Splits: which samples train, validate and test; near duplicates are in the same split."""
