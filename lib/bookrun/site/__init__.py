"""Build the site from executed notebooks, and check its pages."""
