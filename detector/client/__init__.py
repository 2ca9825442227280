"""The analyst's half."""
