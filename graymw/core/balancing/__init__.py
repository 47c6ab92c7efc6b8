"""Ways to share calls among the instances that may take them: pure, each made once for a set of instances."""
