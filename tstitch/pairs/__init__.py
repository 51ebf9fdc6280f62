"""Which model files go together: read from their headers, by the host's own model list."""
