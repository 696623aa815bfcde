"""The list of models."""

from typing import Any


def model(name: str, chat_types: list[str], **abilities: bool) -> dict[str, Any]:
    meta = {"chat_type": chat_types, "capabilities": abilities, "max_context_length": 262_144}
    return {"id": name, "name": name.title(), "object": "model", "owned_by": "qwen", "info": {"id": name, "meta": meta}}


MODELS = [
    model("qwen3-max", ["t2t", "search", "t2i", "image_edit", "t2v", "i2v", "deep_research"], thinking=False),
    model("qwen3.7-plus", ["t2t", "t2i", "image_edit", "t2v", "i2v"], thinking=True, vision=True),
    model("qwen3-vl-plus", ["t2t", "t2i"], thinking=True, vision=True),
    model("qwq-32b", ["t2t"], thinking=True),
]
