"""From a folder of finished runs to a table, pictures and one page. Never trains."""
