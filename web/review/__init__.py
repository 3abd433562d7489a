"""The page and the file on which people decide about doubtful labels; both need no server."""
