"""The functions that `import fpcn_lightning` offers; nothing of them is imported before it is used."""
