"""The only module of this project that vLLM's environment can import, on its own path."""
