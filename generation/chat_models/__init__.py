"""Chat models, each behind the port in `generation.ports`; only `generation.build` imports them."""
