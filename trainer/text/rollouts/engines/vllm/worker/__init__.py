"""What vLLM's environment sees of this project: one module, on a path of its own."""
