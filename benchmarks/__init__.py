"""Speed, as ratios between runs side by side in one go."""
