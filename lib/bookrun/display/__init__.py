"""Show what a chapter found: checks, figures, tables, banners, and the book's style."""
