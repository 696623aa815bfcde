"""A library to measure: 100,000 assets of 20 owners, one of whom has 60,000, the same at every run."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate

from gateway.assets.asset import Asset
from gateway.types import MediaFamily

ASSETS = 100_000
OWNERS = 20
THE_BIG = "owner-00"
BIG_SHARE = 0.6
START, END = 1_735_689_600.0, 1_767_225_600.0
"""All of 2025."""

COMMON, RARE, PREFIX, PHRASE = "cinematic", "zeppelin", "lighth", '"golden hour light"'
CHINESE, RARE_CHINESE = "海边的灯塔", "齐柏林飞艇"
"""What is searched for: a word in 30 % of the prompts, one in 0.02 %, …"""
COMMON_TAG, RARE_TAG = "final", "poster-2019"
SYLLABLES = (
    *("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "ri", "so", "tu", "va", "we", "xi"),
    *("yo", "zu", "bra", "cle", "dri", "flo", "gru", "sta", "tre", "vlo"),
)
CHARACTERS = "的一山水天红黄蓝绿白云海边灯塔光影人城市夜晨雪花树林风雨金色老街小巷猫狗鸟飞船古寺秋叶春江月星空远近明暗"

FAMILIES: tuple[tuple[MediaFamily, str, str, str], ...] = (
    ("image", "image/png", "png", "t2i"),
    ("image", "image/jpeg", "jpg", "i2i"),
    ("video", "video/mp4", "mp4", "t2v"),
    ("audio", "audio/mpeg", "mp3", "tts"),
    ("text", "text/markdown", "md", "t2t"),
)
FAMILY_WEIGHTS = (55, 15, 15, 10, 5)


@dataclass(frozen=True)
class Shelf:
    assets: list[Asset]
    collections: dict[str, tuple[str, list[str]]]
    """By id: whose it is, and the ids of what it holds."""


def shelf(count: int = ASSETS) -> Shelf:
    dice = random.Random(20260101)
    made = list(_assets(dice, count))
    collections = {}
    for owner in sorted({asset.owner for asset in made}):
        own = [asset.id for asset in made if asset.owner == owner]
        for number, share in enumerate((0.03, 0.01, 0.001)):
            chosen = dice.sample(own, max(1, int(len(own) * share)))
            collections[f"col-{owner}-{number}"] = (owner, chosen)
    return Shelf(made, collections)


def _assets(dice: random.Random, count: int) -> Iterator[Asset]:
    words = _vocabulary(dice)
    weights = list(accumulate(1 / (rank + 5) for rank in range(len(words))))
    for number in range(count):
        family, mime, ending, kind = dice.choices(FAMILIES, FAMILY_WEIGHTS)[0]
        model = int(dice.paretovariate(0.9)) % 25
        big = dice.random() < BIG_SHARE
        asset_id = f"asset_{dice.randbytes(16).hex()}"
        tags = [COMMON_TAG] if dice.random() < 0.2 else []
        tags += [RARE_TAG] if dice.random() < 0.0005 else []
        tags += dice.sample([f"tag-{n}" for n in range(200)], dice.choice((0, 0, 1, 2)))
        paid = dice.random() < 0.7
        yield Asset(
            id=asset_id,
            owner=THE_BIG if big else f"owner-{dice.randrange(1, OWNERS):02}",
            family=family,
            key=f"{family}s/2025-06/model-{model}_20250601_101010_{asset_id[6:14]}.{ending}",
            mime=mime,
            size=int(dice.lognormvariate(13.5, 1.2)),
            sha256=dice.randbytes(32).hex(),
            width=1024,
            height=768,
            seconds=None,
            filename=f"model-{model}_20250601_101010_{asset_id[6:14]}.{ending}",
            prompt=_prompt(dice, words, weights),
            model=f"model-{model}",
            upstream=f"upstream-{model % 6}",
            kind=kind,  # type: ignore[arg-type]
            task_id=f"task_{dice.randbytes(16).hex()}",
            source_module="api",
            created_at=START + (END - START) * number / count,
            metadata={"size": "1024x768", "seed": number, "steps": 30},
            request_id=f"req_{dice.randbytes(12).hex()}",
            title=" ".join(dice.choices(words, k=3)) if dice.random() < 0.2 else None,
            tags=tuple(tags),
            cost=round(dice.uniform(0.01, 0.4), 3) if paid else None,
            currency=dice.choice(("USD", "CNY")) if paid else None,
            generation_time=dice.uniform(2, 90),
            is_favorite=dice.random() < 0.05,
            use_count=int(dice.paretovariate(1.2)) - 1,
            thumbnail_key=f"thumbnails/2025-06/{asset_id[6:]}.webp",
            previewed_at=END,
        )


def _vocabulary(dice: random.Random) -> list[str]:
    found = {"".join(dice.choices(SYLLABLES, k=dice.choice((2, 2, 3, 3, 4)))) for _ in range(9000)}
    words = sorted(found)
    dice.shuffle(words)
    return words


def _prompt(dice: random.Random, words: list[str], weights: list[float]) -> str:
    if dice.random() < 0.15:
        said = ["".join(dice.choices(CHARACTERS, k=dice.randint(4, 12))) for _ in range(dice.randint(2, 4))]
        said += [CHINESE] if dice.random() < 0.05 else []
        said += [RARE_CHINESE] if dice.random() < 0.002 else []
    else:
        said = dice.choices(words, cum_weights=weights, k=dice.randint(10, 40))
        said += ["golden hour light"] if dice.random() < 0.02 else []
        said += [dice.choice(("lighthouse", "lighthouses"))] if dice.random() < 0.03 else []
        said += [RARE] if dice.random() < 0.0002 else []
    said += [COMMON] if dice.random() < 0.3 else []
    dice.shuffle(said)
    return " ".join(said)
