"""The front door: the `footnote` command and the configuration file."""
