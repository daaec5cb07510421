"""`fpcn train`: from a folder of photographs to a bundle in one command."""
