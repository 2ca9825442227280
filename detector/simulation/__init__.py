"""Seeded simulations of sampling: what a way of sampling costs, and how wrong it is, against everything collected."""
