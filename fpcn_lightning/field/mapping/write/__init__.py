"""Stage 4: the result folder with its maps, tables, figures and summary."""
