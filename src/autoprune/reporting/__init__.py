"""Reports of finished studies: tables, Markdown, HTML pages, the dashboard's note."""
