"""What the checks are built from: a stage with processes, an engine, receivers, injectors."""
