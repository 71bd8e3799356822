"""The application: a study from its configuration to its result."""
