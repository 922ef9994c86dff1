"""Two evaluations of the same queries against each other: statistics, and a verdict that a build can stop at."""
