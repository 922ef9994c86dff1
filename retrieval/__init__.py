"""Find the chunks that answer a query: records, ports, stores, embedders, fusion. Imports none of ours."""
