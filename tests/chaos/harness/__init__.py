"""What the chaos cases stand on: nodes made of namespaces, plugin calls, snapshots and the tracer."""
