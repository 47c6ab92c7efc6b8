"""The stateful part: the current document, the current context, the plan of a call, reloading."""
