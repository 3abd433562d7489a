"""Near duplicates: pairs of pictures that show the same, and the groups that they form."""
