"""The page and the REST endpoint of `fpcn serve`."""
