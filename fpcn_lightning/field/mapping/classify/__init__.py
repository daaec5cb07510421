"""Stage 2: where the network looks, what it is shown there, and what it predicts."""
