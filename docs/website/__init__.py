"""Makes the pages of the site that are read off the code: docs/make_site.py puts them together."""
