"""The words of a prompt, as the generators look for them."""

from __future__ import annotations

import re


def vocabulary(prompt: str) -> list[str]:
    """Lower-case words of a prompt; of Chinese, which writes no spaces, every run of one to three characters."""
    words = re.findall(r"[a-z]+", prompt.lower())
    for run in re.findall(r"[\u4e00-\u9fff]+", prompt):
        words += [run[at : at + size] for size in (1, 2, 3) for at in range(len(run) - size + 1)]
    return words
