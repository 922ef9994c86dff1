"""What somebody typed, made into what is searched for: identifiers, condensation, decomposition; rules, no model."""
