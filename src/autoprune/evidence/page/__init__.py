"""The report as one page that needs no network: text, tables, and figures drawn in the browser."""
