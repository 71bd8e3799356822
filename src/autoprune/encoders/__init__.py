"""Encoders: find, download, load, prune and profile a Hugging Face encoder."""
