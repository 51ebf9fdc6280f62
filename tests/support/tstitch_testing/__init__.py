"""Fixtures as plain functions: analytic models and one-line sampling on the real host."""
