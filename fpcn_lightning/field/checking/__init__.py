"""`fpcn check`: how good a bundle is on a user's own labels."""
