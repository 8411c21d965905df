"""Shared fixtures: see the folders of each room."""
