"""Rules to code: one generated function per release. No text of a user ever becomes source."""
