"""What users hold: the driver, asynchronous at its core, with a thin synchronous face."""
