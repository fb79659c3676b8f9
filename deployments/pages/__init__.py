"""The pages of operators: parse, one call of an operation or a reading, draw."""
