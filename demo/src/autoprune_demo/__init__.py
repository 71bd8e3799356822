"""The demo of autoprune: an encoder in `models/`, headlines in `tasks/`, each with its terms."""
