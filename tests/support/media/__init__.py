"""HEIC and AVIF files, and what pictures say of their orientation."""
