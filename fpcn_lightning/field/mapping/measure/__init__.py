"""Stage 3: from the predictions to a map of classes, and from the map to areas, grains and contacts."""
