"""HTML pages: templates, components and plots, in one file without network."""
