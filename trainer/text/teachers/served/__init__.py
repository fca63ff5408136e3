"""Teachers on servers: requests for scores, several servers of one model, and proof of the scores.

`vllm` and `sglang` know the two programs, `client` sends and repeats requests, `probes` and
`fingerprints` prove that the scores are right, and `served_view` is the teacher of a run.
"""
