"""The site's products, a tree for each category: groups at several depths, virtual fields, several versions."""

from collections.abc import Iterator
from typing import Any

FILMS = ("text_to_video", "image_to_video", "first_last_frame_to_video", "reference_image_to_video")


def group(name: str, *children: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"group-{name}", "type": "2", "name": name, "model_id": "", "children": list(children)}


def leaf(version: str, model: str, name: str, rules: list[dict[str, Any]], *fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": version,
        "type": "3",
        "name": name,
        "model_id": model,
        "children": [],
        "credit_rules": rules,
        "form_config": list(fields),
    }


def rule(attribute_id: int, points: int, **attributes: Any) -> dict[str, Any]:
    return {"attribute_id": attribute_id, "points": points, "attributes": attributes or {"default": "enabled"}}


def field(name: str, value: Any, *options: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"field": name, "type": "tags" if options else "input", "value": value}
    return found | ({"options": [{"label": str(one), "value": one} for one in options]} if options else {})


def virtual(
    name: str, value: Any, uis: list[dict[str, Any]], rules: list[tuple[dict[str, Any], Any]]
) -> dict[str, Any]:
    return {
        **field(name, value),
        "is_ui_virtual": True,
        "ui_params": uis,
        "value_mapping": {
            "target_param": name,
            "mapping_rules": [{"source_values": when, "target_value": target} for when, target in rules],
        },
    }


def products() -> dict[str, list[dict[str, Any]]]:
    """Anew each time: a test may change prices."""
    return {
        "text_to_image": [
            group("ByteDance", group("SeeDream", _seedream())),
            group("Google", _gemini(4400), _pro(2399)),
            group("Midjourney", leaf("v6", "midjourney", "Midjourney V6", [
                rule(5451, 8, quality="480p"), rule(5452, 10, quality="720p"),
            ], field("quality", "480p", "480p", "720p"))),
        ],
        "image_to_image": [
            leaf("doubao-seedream-4-5-251128", "doubao-seedream-4.5", "SeeDream 4.5", [rule(1611, 5)],
                 field("size", "2k", "2k", "4k", "2048x2048")),
            _gemini(4404),
        ],
        "text_to_video": [
            group("Wan", _wan("wan2.6-t2v", 2057)),
            group("Kling", _kling(2313)),
            group("Pixverse", *_pixverse(3000)),
            group("Seedance", _seedance("ima-pro", 7000), _seedance("ima-pro-fast", 7010)),
            _vidu(),
        ],
        "image_to_video": [
            group("Wan", _wan("wan2.6-i2v", 2157)), _hailuo(), *_pixverse(3100), _seedance("ima-pro", 7100),
        ],
        "first_last_frame_to_video": [_kling(2413), *_pixverse(3200)],
        "reference_image_to_video": [_kling(2513), _seedance("ima-pro", 7200)],
        "text_to_music": [
            leaf("sonic", "sonic", "Suno", [rule(2370, 25)], field("make_instrumental", False)),
            leaf("GenBGM", "GenBGM", "BGM", [rule(4399, 30)]),
            leaf("GenSong", "GenSong", "Song", [rule(4398, 30)]),
        ],
        "text_to_speech": [
            leaf("seed-tts-2.0", "seed-tts-2.0", "Seed TTS 2.0", [rule(6001, 2)],
                 field("speaker", "zh_female_vv_uranus_bigtts", "zh_female_vv_uranus_bigtts",
                       "en_male_tim_uranus_bigtts")),
        ],
    }  # fmt: skip


def leaves(nodes: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for node in nodes:
        if node["type"] == "3":
            yield node
        yield from leaves(node.get("children") or [])


def _seedream() -> dict[str, Any]:
    ratio = {"field": "aspect_ratio", "value": "1:1", "options": [{"value": one} for one in ("1:1", "16:9", "21:9")]}
    sizes = [({"aspect_ratio": "1:1"}, "2048x2048"), ({"aspect_ratio": "16:9"}, "2560×1440"),
             ({"aspect_ratio": "21:9"}, "3024x1296")]  # fmt: skip
    return leaf(
        "doubao-seedream-4-5-251128", "doubao-seedream-4.5", "SeeDream 4.5", [rule(2341, 5)],
        virtual("size", "2048x2048", [ratio], sizes),
    )  # fmt: skip


def _gemini(first: int) -> dict[str, Any]:
    rules = [rule(first + at, points, size=size) for at, (size, points) in
             enumerate((("512px", 4), ("1K", 6), ("2K", 10), ("4K", 13)))]  # fmt: skip
    return leaf(
        "gemini-3.1-flash-image", "gemini-3.1-flash-image", "Nano Banana2", rules,
        field("size", "1K", "512px", "1K", "2K", "4K"), field("aspect_ratio", "1:1", "1:1", "16:9", "9:16"),
    )  # fmt: skip


def _pro(first: int) -> dict[str, Any]:
    rules = [rule(first + at, points, size=size) for at, (size, points) in
             enumerate((("1K", 10), ("2K", 10), ("4K", 18)))]  # fmt: skip
    return leaf(
        "gemini-3-pro-image", "gemini-3-pro-image", "Nano Banana Pro", rules, field("size", "1K", "1K", "2K", "4K")
    )


def _wan(model: str, first: int) -> dict[str, Any]:
    priced = ((5, "720P", 25), (5, "1080P", 40), (10, "720P", 50), (10, "1080P", 80), (15, "720P", 75),
              (15, "1080P", 120))  # fmt: skip
    rules = [rule(first + at, points, duration=str(length), resolution=line)
             for at, (length, line, points) in enumerate(priced)]  # fmt: skip
    return leaf(
        model, model, "Wan2.6", rules,
        field("duration", 5, 5, 10, 15), field("resolution", "1080p", "720p", "1080p"),
        field("aspect_ratio", "16:9", "16:9", "9:16", "1:1"), field("prompt_extend", True),
        field("shot_type", "single", "single", "multi"), field("negative_prompt", ""), field("seed", -1),
    )  # fmt: skip


def _kling(first: int) -> dict[str, Any]:
    rules = [rule(first, 48, duration="5", mode="std"), rule(first + 1, 60, duration="5", mode="pro"),
             rule(first + 2, 96, duration="10", mode="std"),
             rule(first + 3, 120, duration="10", mode="pro")]  # fmt: skip
    quality = {"field": "quality", "value": "720p", "options": [{"value": "720p"}, {"value": "1080p"}]}
    return leaf(
        "kling-video-o1", "kling-video-o1", "Kling O1", rules, field("duration", "5", "5", "10"),
        virtual("mode", "std", [quality], [({"quality": "720p"}, "std"), ({"quality": "1080p"}, "pro")]),
    )  # fmt: skip


def _pixverse(first: int) -> list[dict[str, Any]]:
    """V3.5 says its `model` itself; the others leave it out."""
    length = field("duration", 5, 5, 8)
    return [
        leaf(f"pv-{version}", "pixverse", f"Pixverse V{version}",
             [rule(first + 10 * at, 12 + at, duration=5), rule(first + 10 * at + 1, 24 + at, duration=8)],
             length, *own)
        for at, (version, own) in enumerate(
            (("5.5", ()), ("3.5", (field("model", "v3.5"),)), ("5", ()))
        )
    ]  # fmt: skip


def _seedance(model: str, first: int) -> dict[str, Any]:
    rules = [rule(first, 20, resolution="480p"), rule(first + 1, 44, resolution="720p")]
    return leaf(
        f"{model}-v2", model, f"Seedance 2.0 {model}", rules,
        field("resolution", "720p", "480p", "720p"), field("generate_audio", True),
    )  # fmt: skip


def _vidu() -> dict[str, Any]:
    """A group: two controls that stand for one parameter only together."""
    style = {"id": "style", "value": "general", "options": [{"value": "general"}, {"value": "anime"}]}
    motion = {"id": "motion", "value": "auto", "options": [{"value": "auto"}, {"value": "large"}]}
    combos = [({"style": "general", "motion": "auto"}, "g1"), ({"style": "general", "motion": "large"}, "g2"),
              ({"style": "anime", "motion": "auto"}, "a1")]  # fmt: skip
    rules = [rule(8000, 5, profile="g1"), rule(8001, 9, profile="g2"), rule(8002, 7, profile="a1")]
    return leaf("viduq2", "viduq2", "Vidu Q2", rules, virtual("profile", "g1", [style, motion], combos))


def _hailuo() -> dict[str, Any]:
    """Not all combinations of what it has."""
    rules = [rule(9000, 32, duration=6, resolution="768P"), rule(9001, 56, duration=10, resolution="768P"),
             rule(9002, 64, duration=6, resolution="1080P")]  # fmt: skip
    return leaf(
        "hailuo-2.3", "MiniMax-Hailuo-2.3", "Hailuo 2.3", rules,
        field("duration", 6, 6, 10), field("resolution", "768P", "768P", "1080P"),
    )  # fmt: skip
