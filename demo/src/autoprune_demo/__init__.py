"""The demo of autoprune: encoders in `models/`, headlines in `tasks/`. Their terms are beside them."""
