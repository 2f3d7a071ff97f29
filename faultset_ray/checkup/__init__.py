"""What could be wrong with a machine or a cluster, looked for on purpose: facts are gathered there, and judged here."""
