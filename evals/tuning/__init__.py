"""Search for better settings of ranking on some queries, and judge what was found on others that it never saw."""
