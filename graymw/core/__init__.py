"""The pure part: rules, bucketing, deciding, carrying. No I/O, no clock, no framework."""
