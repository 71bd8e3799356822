"""A Hugging Face encoder and its layers: registry, loading, surgery, cost."""
