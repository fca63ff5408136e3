"""The only module of a served teacher that vLLM's environment can import, on its own path."""
