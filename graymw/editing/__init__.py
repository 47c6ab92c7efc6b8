"""Changes of a rule document: as a person would write them into the text, checked, and put in place safely."""
