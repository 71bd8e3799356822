"""Optuna storages: journal file and database, with retry, heartbeat and locks."""
