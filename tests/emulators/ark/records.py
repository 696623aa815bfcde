"""A job as the site tells it."""

from typing import Any

from tests.emulators.ark.jobs import Task
from tests.emulators.ark.models import Model

USAGE = ("completion_tokens", "total_tokens")


def record(job: Task, model: Model, now: float, here: str, *, early: bool) -> dict[str, Any]:
    """`here`: what the URLs of its results begin with. `early`: seed, shape and length are told before it is done."""
    body, status = job.body, job.status(now)
    told: dict[str, Any] = {
        "id": job.id,
        "model": job.model,
        "status": status,
        "error": None,
        "created_at": int(job.created_at),
        "updated_at": int(min(now, job.created_at + job.queued + job.running)),
        "service_tier": body.get("service_tier", "default"),
        "execution_expires_after": job.expires,
    }
    if model.version >= 1.5:
        told |= {"generate_audio": body.get("generate_audio", True), "draft": body.get("draft", False)}
    told |= {name: body[name] for name in ("priority", "safety_identifier", "output_format") if name in body}
    if status == "failed":
        told["error"] = dict(zip(("code", "message"), job.plan.error, strict=True))
    if status == "succeeded" or early:
        told |= _shape(job, model)
    if status == "succeeded":
        tokens = 1000 * int(body.get("duration", 5))
        told |= {"content": _content(job, here), "usage": dict.fromkeys(USAGE, tokens)}
    return told


def signature(job: Task) -> str:
    return f"{job.number:04d}{job.id[-8:]}"


def _content(job: Task, here: str) -> dict[str, str]:
    if job.plan.result == "none":
        return {}
    told = {"video_url": f"{here}.mp4?X-Tos-Expires=86400&X-Tos-Signature={signature(job)}"}
    if job.body.get("return_last_frame"):
        told["last_frame_url"] = f"{here}.png?X-Tos-Expires=86400&X-Tos-Signature={signature(job)}"
    return told


def _shape(job: Task, model: Model) -> dict[str, Any]:
    body = job.body
    length = {"frames": body["frames"]} if "frames" in body else {"duration": abs(body.get("duration", 5))}
    told = {"seed": job.seed, "resolution": body.get("resolution", model.default), "framespersecond": 24}
    return told | {"ratio": body.get("ratio", "16:9")} | length
