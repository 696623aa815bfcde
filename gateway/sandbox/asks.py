"""Small asks the sandbox can do for real: say this, count to that, list some, add up, remember what was said.

Each is a function of the conversation that gives an answer, or None where it was not asked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from gateway.sandbox.arithmetic import work_out

COUNT_LIMIT = 500
LIST_LIMIT = 50


@dataclass(frozen=True, slots=True)
class Talk:
    """A conversation as far as the small asks care."""

    ask: str
    """The last thing the user said."""
    said: tuple[str, ...]
    """What the user had said before that, oldest first."""
    chinese: bool
    images: int
    """In the last message."""
    chance: Random


def small_answer(talk: Talk) -> tuple[str, bool] | None:
    """The answer to the first small ask that fits, and whether it must stand alone, without a word around it."""
    for ask, alone in ASKS:
        if (answer := ask(talk)) is not None:
            return answer, alone
    return None


def say_exactly(talk: Talk) -> str | None:
    """Say exactly …, reply with only …, repeat after me: …"""
    for pattern in (
        r"\b(?:say|reply|respond|answer|output|print|write|return)\s+(?:me\s+)?(?:with\s+)?(?:exactly|only|just|verbatim)"
        r"(?:\s+with)?(?:\s+(?:the|this|one))?(?:\s+(?:word|words|text|phrase|sentence|string))?s?\s*[:,]?\s*(.+)",
        r"\b(?:say|reply|respond|answer)\s+(?:with\s+)?(?:the\s+(?:single\s+)?(?:word|phrase)s?\s+)(.+)",
        r"\brepeat\s+(?:after\s+me|exactly|this|the\s+following)[^:：]*[:：]\s*(.+)",
        r"\bsay\s*[:：]?\s*([\"'“‘「].+)",
        r"(?:只|仅)(?:需|要|用)?(?:回复|回答|说|输出)\s*[:：]?\s*(.+)",
        r"(?:请)?(?:重复|跟我说|原样(?:输出|回复))\s*[:：]?\s*(.+)",
    ):
        found = re.search(pattern, talk.ask, re.IGNORECASE | re.DOTALL)
        if found:
            return _unquoted(found.group(1)) or None
    return None


def count(talk: Talk) -> str | None:
    """Count to ten, count from 3 to 7, 数到10."""
    found = re.search(
        r"\bcount\s+(?:up\s+)?(?:from\s+(-?\d+|[a-z]+)\s+)?(?:up\s+)?to\s+(-?\d+|[a-z]+)|(?:从\s*(\d+)\s*)?数到\s*(\d+|[一-十]+)",
        talk.ask,
        re.IGNORECASE,
    )
    if not found:
        return None
    first, last = _number(found.group(1) or found.group(3) or "1"), _number(found.group(2) or found.group(4) or "")
    if first is None or last is None:
        return None
    step = 1 if last >= first else -1
    numbers = list(range(first, last + step, step))[:COUNT_LIMIT]
    mark = "、" if talk.chinese else ", "
    return mark.join(map(str, numbers)) + ("…" if numbers[-1] != last else "")


def listing(talk: Talk) -> str | None:
    """List three colours, give me 5 names, 列出三种颜色."""
    found = re.search(
        r"\b(?:list|name|give\s+me|suggest|tell\s+me|write)\s+(?:me\s+)?(\d+|[a-z]+)\s+([^.?!\n]+)"
        r"|(?:列出|列举|说出|给我|写)\s*(\d+|[一二两三四五六七八九十]+)\s*[个种条项首句]?\s*([^。？！\n]+)",
        talk.ask,
        re.IGNORECASE,
    )
    many = _number((found.group(1) or found.group(3)).lower()) if found else None
    if not found or many is None or not 1 <= many <= LIST_LIMIT:
        return None
    topic = (found.group(2) or found.group(4)).strip()
    known = _known(topic)
    items = talk.chance.sample(known, min(many, len(known)))
    items += [f"{topic} {number}" for number in range(len(items) + 1, many + 1)]
    return "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))


def recall(talk: Talk) -> str | None:
    """What did I say, what is my name, 我刚才说了什么."""
    return _name(talk) or _fact(talk) or _said(talk)


def greeting(talk: Talk) -> str | None:
    """Hello."""
    if not re.fullmatch(
        r"\W*(hi|hello|hey|good (morning|evening|day)|你好|您好|嗨|早上好)( there)?\W*", talk.ask.lower()
    ):
        return None
    return "你好！很高兴见到你。" if talk.chinese else "Hello! Nice to meet you."


def sum_up(talk: Talk) -> str | None:
    """What is 17*23."""
    worked = work_out(talk.ask)
    return f"{worked[0]} = {worked[1]}" if worked else None


ASKS: Sequence[tuple[Callable[[Talk], str | None], bool]] = (
    (say_exactly, True),
    (count, True),
    (recall, False),
    (sum_up, False),
    (listing, False),
    (greeting, False),
)
"""In the order in which they are tried, each with whether its answer stands alone."""

COUNTED = "zero one two three four five six seven eight nine ten eleven twelve"
NUMBERS = {word: number for number, word in enumerate(COUNTED.split())} | {"fifteen": 15, "twenty": 20, "hundred": 100}
HAN = "零一二三四五六七八九十"

KNOWN: dict[tuple[str, ...], tuple[str, ...]] = {
    ("colour", "color"): ("red", "orange", "yellow", "green", "blue", "indigo", "violet", "white", "black"),
    ("planet",): ("Mercury", "Venus", "Earth", "Mars", "Jupiter", "Saturn", "Uranus", "Neptune"),
    ("fruit",): ("apple", "pear", "plum", "cherry", "mango", "banana", "grape", "peach", "fig", "melon"),
    ("animal",): ("fox", "heron", "otter", "lynx", "whale", "badger", "owl", "deer", "hare", "seal"),
    ("country", "countries"): ("Norway", "Kenya", "Japan", "Peru", "China", "Greece", "Canada", "Egypt"),
    ("city", "cities", "capital"): ("Paris", "Tokyo", "Lagos", "Lima", "Oslo", "Beijing", "Delhi", "Rome"),
    ("name",): ("Ada", "Grace", "Alan", "Edsger", "Barbara", "Donald", "Tony", "Radia", "Ken", "Lin"),
    ("颜色",): ("红", "橙", "黄", "绿", "青", "蓝", "紫", "白", "黑"),
    ("行星",): ("水星", "金星", "地球", "火星", "木星", "土星", "天王星", "海王星"),
    ("水果",): ("苹果", "梨", "李子", "樱桃", "芒果", "香蕉", "葡萄", "桃子"),
    ("动物",): ("狐狸", "苍鹭", "水獭", "猞猁", "鲸", "獾", "猫头鹰", "鹿"),
    ("国家",): ("挪威", "肯尼亚", "日本", "秘鲁", "中国", "希腊", "加拿大", "埃及"),
    ("城市",): ("北京", "上海", "巴黎", "东京", "奥斯陆", "利马", "罗马", "成都"),
    ("名字",): ("小明", "小红", "子涵", "一诺", "浩然", "思远"),
    ("month",): ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October",
                 "November", "December"),
}  # fmt: skip


def _known(topic: str) -> Sequence[str]:
    for names, items in KNOWN.items():
        if any(name in topic.lower() for name in names):
            return items
    return ()


_NAMED = re.compile(
    r"\bmy name(?:'s| is)\s+([^\s.,!?]+)|\b(?:i am|i'm|call me)\s+([A-Z]\w+)|我(?:叫|的名字是)\s*([^\s，。！？,.]+)",
    re.IGNORECASE,
)


def _name(talk: Talk) -> str | None:
    if not re.search(
        r"what(?:'s| is| was)\s+my\s+name|who am i|remember my name|我(?:叫什么|的名字|是谁)", talk.ask, re.I
    ):
        return None
    for said in reversed(talk.said):
        if found := _NAMED.search(said):
            name = next(filter(None, found.groups()))
            return f"你的名字是{name}。" if talk.chinese else f"Your name is {name}."
    return "你还没有告诉我你的名字。" if talk.chinese else "You have not told me your name."


def _fact(talk: Talk) -> str | None:
    """What is my favourite colour? – told earlier as: my favourite colour is green."""
    asked = re.search(
        r"\bwhat(?:'s| is| was| are)\s+(?:the|my)\s+([\w\s-]{3,60}?)(?:\s+again|\s+i\s+\w+[^?]*)?\s*\?", talk.ask, re.I
    )
    if not asked:
        return None
    thing = re.escape(asked.group(1).strip())
    for said in reversed(talk.said):
        found = re.search(rf"\b(?:my|the)\s+{thing}\s+(?:is|was|are|:)\s+([^.!?\n]+)", said, re.I)
        if found:
            return f"You told me: {found.group(0).strip()}."
    return None


def _said(talk: Talk) -> str | None:
    asked = re.search(
        r"what (?:did|have|was the \w+ thing) i (?:just |first |last )?(?:say|said|ask|asked|tell|told|write)"
        r"|(?:repeat|remember) what i said|my (?:first|last|previous) (?:message|question)"
        r"|我(?:刚才|之前|前面|刚刚)?(?:说|问|讲)(?:了|过)?(?:些)?什么",
        talk.ask,
        re.I,
    )
    if not asked:
        return None
    if not talk.said:
        return "这是你的第一句话。" if talk.chinese else "This is the first thing you have said."
    quoted = "\n".join(f"{number}. “{' '.join(said.split())}”" for number, said in enumerate(talk.said, 1))
    return f"你之前说过：\n{quoted}" if talk.chinese else f"You said, in this order:\n{quoted}"


def _number(written: str) -> int | None:
    written = written.strip().lower()
    if re.fullmatch(r"-?\d{1,9}", written):
        return int(written)
    if written in NUMBERS:
        return NUMBERS[written]
    if written == "两":
        return 2
    if found := re.fullmatch(r"([一二三四五六七八九]?)十([一二三四五六七八九]?)", written):
        tens, ones = found.groups()
        return (HAN.index(tens) if tens else 1) * 10 + (HAN.index(ones) if ones else 0)
    return HAN.index(written) if len(written) == 1 and written in HAN else None


def _unquoted(text: str) -> str:
    """What is between the first quotation marks if there are some, else the text itself."""
    text = text.strip()
    for opening, closing in (('"', '"'), ("'", "'"), ("“", "”"), ("‘", "’"), ("「", "」"), ("`", "`")):
        if text.startswith(opening) and (end := text.find(closing, 1)) > 0:
            return text[1:end]
    trimmed = re.sub(r"\s*(?:,?\s*(?:and\s+)?nothing\s+(?:else|more)|,?\s*please)\s*[.!]?$", "", text, flags=re.I)
    # A full stop after a single word ends the asker's sentence, not the word.
    return trimmed[:-1] if re.fullmatch(r"[\w-]+\.", trimmed) else trimmed
