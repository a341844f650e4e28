"""Read what authors write: chapters, their parameters, YAML."""
