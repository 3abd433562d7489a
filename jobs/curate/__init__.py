"""Commands for people who look after the samples: clusters, labels, reviews and decisions."""
