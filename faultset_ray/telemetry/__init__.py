"""What the library tells of itself while it runs: events for logs, metrics, traces; each where somebody listens."""
