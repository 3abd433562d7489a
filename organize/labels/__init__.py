"""Doubtful labels, people's decisions about them, and labels that somebody waits for."""
