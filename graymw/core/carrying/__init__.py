"""What travels between processes: the wire text, its signature, whom to believe and whom to tell."""
