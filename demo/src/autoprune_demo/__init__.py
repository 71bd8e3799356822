"""The demo of autoprune: encoders in `models/`, headlines in `tasks/`, each with its terms."""
