"""Kind of device from ``User-Agent`` (RFC 9110, §10.1.5) and ``Sec-CH-UA-Mobile`` (User-Agent Client Hints)."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final, Literal, TypeAlias

Device: TypeAlias = Literal["mobile", "tablet", "desktop", "bot"]

_MAX_LENGTH: Final = 512
_BOT: Final = re.compile(
    r"(?<!cu)bot\b|crawl|spider|slurp|bingpreview|facebookexternalhit|mediapartners|lighthouse|headless|monitor|"
    r"pingdom|uptime|validator|archiver|feedfetcher|apis-google|google-read-aloud|yandex(?:images|metrika)|"
    r"^(?:curl|wget|python|go-http-client|java/|libwww|httpie|postman|apache-httpclient|axios|node|ruby|php|perl|"
    r"kube-probe|elb-healthchecker|googlehc|prometheus|envoy|aiohttp|scrapy|k6/|wrk)",
    re.IGNORECASE,
)
_TABLET: Final = re.compile(
    r"ipad|tablet|kindle|silk(?!.*mobile)|playbook|nexus (?:7|9|10)|sm-t\d|android(?!.*(?:mobi|opera mini))",
    re.IGNORECASE,
)
_MOBILE: Final = re.compile(
    r"mobi|iphone|ipod|blackberry|bb10|opera mini|opera mobi|windows phone|webos|symbian|cfnetwork|okhttp|dalvik",
    re.IGNORECASE,
)
_DESKTOP: Final = re.compile(r"windows nt|macintosh|x11|linux|cros", re.IGNORECASE)


def classify(user_agent: str | None, mobile_hint: str | None = None) -> Device | None:
    """Kind of device, None where nothing tells.

    Args:
        user_agent: The ``User-Agent`` header.
        mobile_hint: The ``Sec-CH-UA-Mobile`` header, ``?1`` or ``?0``. It wins over the user agent, not over a bot's.
    """
    device = _by_user_agent(user_agent[:_MAX_LENGTH]) if user_agent else None
    if mobile_hint == "?1" and device != "bot":
        return "mobile"
    if mobile_hint == "?0" and device in {None, "mobile"}:
        return "desktop"
    return device


@lru_cache(maxsize=2_048)
def _by_user_agent(user_agent: str) -> Device | None:
    if _BOT.search(user_agent):
        return "bot"
    # Android's own HTTP stacks leave out the word Mobile that its browsers carry.
    if _TABLET.search(user_agent) and not user_agent.startswith("Dalvik"):
        return "tablet"
    if _MOBILE.search(user_agent):
        return "mobile"
    return "desktop" if _DESKTOP.search(user_agent) else None
