"""Turn files into documents and chunks, and keep a collection in step with its sources."""
