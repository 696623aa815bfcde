"""What the keyless provider answers with: text, pictures, film, sound and vectors, made here and equal for equal seeds.

Pure generators, one noun a file; they know nothing of requests, events or accounts. Pillow and PyAV are imported by the
functions that draw and encode, so a gateway that never serves the sandbox never loads them.
"""
