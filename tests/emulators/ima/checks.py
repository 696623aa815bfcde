"""Whether a create is one that the site takes: strict about all that the sheet tells, in the order that it looks."""

from typing import Any

from tests.emulators.ima.faults import Refusal
from tests.emulators.ima.trees import leaves

COUNTS = {
    "image_to_image": (1, 20),
    "image_to_video": (1, 20),
    "first_last_frame_to_video": (2, 2),
    "reference_image_to_video": (1, 20),
}
OUTER = {"task_type", "enable_multi_model", "src_img_url", "upload_img_src", "parameters", "src_image", "src_video",
         "src_audio"}  # fmt: skip
INNER = {"attribute_id", "model_id", "model_name", "model_version", "app", "platform", "category", "credit",
         "parameters"}  # fmt: skip
ALWAYS = {"prompt", "n", "input_images", "cast"}
SUNO = {"model_version", "custom_mode", "lyrics", "vocal_gender", "make_instrumental", "auto_lyrics", "tags",
        "negative_tags", "title", "gpt_description_prompt"}  # fmt: skip
SPEECH = {"model", "speaker", "audio_params", "additions"}
SEEDANCE = {"duration", "audio"}


def check(body: dict[str, Any], trees: dict[str, list[dict[str, Any]]]) -> tuple[dict[str, Any], dict[str, Any], int]:
    """The leaf, its inner parameters and the points of all outputs. Raises Refusal."""
    if set(body) - OUTER or body.get("enable_multi_model") is not False or body.get("task_type") not in trees:
        raise Refusal(400, "invalid request")
    category: str = body["task_type"]
    if not isinstance(body.get("parameters"), list) or len(body["parameters"]) != 1:
        raise Refusal(400, "parameters must be an array of one element")
    asked = body["parameters"][0]
    if set(asked) != INNER or asked["app"] != "ima" or asked["platform"] != "web" or asked["category"] != category:
        raise Refusal(400, f"invalid parameters: {sorted(INNER ^ set(asked))}")
    found = _leaf(asked, trees[category])
    inner = asked["parameters"]
    _check_inner(inner, found, category)
    _check_images(body, inner, category)
    _check_rule(asked, inner, found)
    return found, inner, asked["credit"] * inner["n"]


def _leaf(asked: dict[str, Any], tree: list[dict[str, Any]]) -> dict[str, Any]:
    for one in leaves(tree):
        if (one["model_id"], one["id"], one["name"]) == (
            asked["model_id"], asked["model_version"], asked["model_name"],
        ):  # fmt: skip
            return one
    raise Refusal(400, "model is not routed")


def _check_inner(inner: dict[str, Any], found: dict[str, Any], category: str) -> None:
    if not isinstance(inner.get("prompt"), str) or not inner["prompt"]:
        raise Refusal(400, "prompt is required")
    if "forbidden" in inner["prompt"]:
        raise Refusal(400, "The prompt was refused by the content policy")
    most = 1 if category == "text_to_speech" else 2 if category == "text_to_music" else 4
    if type(inner.get("n")) is not int or not 1 <= inner["n"] <= most:
        raise Refusal(400, "n is invalid")
    form = {one["field"]: one for one in found["form_config"]}
    keys = {key for one in found["credit_rules"] for key in one["attributes"]} - {"default"}
    model = found["model_id"]
    more = SUNO if model == "sonic" else SPEECH if model.startswith("seed-tts") else set()
    more = SEEDANCE if model.startswith("ima-pro") else more
    if unknown := set(inner) - ALWAYS - set(form) - keys - more - ({"model"} if model == "pixverse" else set()):
        raise Refusal(400, f"unknown parameters {sorted(unknown)}")
    for name, one in form.items():
        options = [option["value"] for option in one.get("options", [])]
        if options and name in inner and not any(_same(inner[name], option) for option in options):
            raise Refusal(400, f"Invalid value for {name}")
    if "×" in str(inner.get("size", "")):
        raise Refusal(400, "Invalid value for size")
    _check_model(inner, found)


def _check_model(inner: dict[str, Any], found: dict[str, Any]) -> None:
    match found["model_id"]:
        case "pixverse" if inner.get("model") != "v" + found["name"].rpartition("V")[2]:
            raise Refusal(400017)
        case "sonic" if inner.get("model_version") != "sonic-v5":
            raise Refusal(400, "model_version is required")
        case "sonic" if inner.get("lyrics") and not inner.get("custom_mode"):
            raise Refusal(400, "lyrics need the custom mode")
        case "ima-pro" | "ima-pro-fast" if "generate_audio" in inner or not 4 <= int(inner.get("duration", 0)) <= 15:
            raise Refusal(400, "unknown parameters generate_audio, or no duration")
        case model if model.startswith("seed-tts"):
            if not str(inner.get("speaker")).endswith("_uranus_bigtts") or "model" not in inner:
                raise Refusal(400, "Invalid value for speaker")
            if len(inner["prompt"]) > 300:
                raise Refusal(400, "the text is too long")
        case _:
            pass


def _check_images(body: dict[str, Any], inner: dict[str, Any], category: str) -> None:
    least, most = COUNTS.get(category, (0, 0))
    urls = body.get("src_img_url")
    if not isinstance(urls, list) or urls != inner.get("input_images") or not least <= len(urls) <= most:
        raise Refusal(400, "src_img_url and input_images are invalid")
    if "src_image" in body and [one["url"] for one in body["src_image"]] != urls:
        raise Refusal(400, "src_image is invalid")


def _check_rule(asked: dict[str, Any], inner: dict[str, Any], found: dict[str, Any]) -> None:
    rules = found["credit_rules"]
    sent = next((one for one in rules if one["attribute_id"] == asked["attribute_id"]), None)
    if sent is None:
        raise Refusal(400, "Invalid product attribute")
    calculated = next(
        (one for one in rules if "default" not in one["attributes"]
         and all(_same(inner.get(key), value) for key, value in one["attributes"].items())),
        next((one for one in rules if "default" in one["attributes"]), None),
    )  # fmt: skip
    if calculated is None:
        raise Refusal(6009)
    if calculated is not sent:
        raise Refusal(6010)
    cast = {"points": asked["credit"], "attribute_id": asked["attribute_id"]}
    if inner.get("cast") != cast or asked["credit"] != sent["points"]:
        raise Refusal(6006)


def _same(one: Any, other: Any) -> bool:
    return str(one).strip().upper() == str(other).strip().upper()
