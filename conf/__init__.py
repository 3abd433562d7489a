"""Settings: the files in this folder and their validated form."""
