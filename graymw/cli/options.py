"""Options that several commands have, so that they are called and explained alike."""

from __future__ import annotations

import ipaddress
from typing import Annotated, TypeAlias

import typer


def _address(text: str | None) -> str | None:
    try:
        if text is not None:
            ipaddress.ip_address(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no address; write it like 203.0.113.7") from None
    return text


RulesOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--rules", metavar="FILE|URL|-", help="The rule document; default: the one of this environment."),
]
ReleaseOption: TypeAlias = Annotated[str | None, typer.Option("--release", help="One release only.")]
ServiceOption: TypeAlias = Annotated[
    str | None, typer.Option("--service", help="The service that decides; default: GRAYMW_SERVICE.")
]
JsonOption: TypeAlias = Annotated[bool, typer.Option("--json", help="Write JSON.")]
HeaderOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--header", "-H", metavar="NAME: VALUE", help="A header; again for more.")
]
CookieOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--cookie", metavar="NAME=VALUE", help="A cookie; again for more.")
]
QueryOption: TypeAlias = Annotated[
    list[str] | None, typer.Option("--query", metavar="NAME=VALUE", help="A query parameter; again for more.")
]
MethodOption: TypeAlias = Annotated[str, typer.Option("--method", "-X", help="The method.")]
PathOption: TypeAlias = Annotated[
    str | None, typer.Option("--path", "--url", metavar="PATH|URL", help="Path with its query, or a whole URL.")
]
HostOption: TypeAlias = Annotated[str | None, typer.Option("--host", help="The host.")]
UserOption: TypeAlias = Annotated[
    str | None, typer.Option("--user", help="The user id; default: from the request, as GRAYMW_USER says.")
]
RegionOption: TypeAlias = Annotated[
    str | None, typer.Option("--region", help="The region; default: from the request, as GRAYMW_REGION says.")
]
DeviceOption: TypeAlias = Annotated[
    str | None, typer.Option("--device", help="The device; default: from the request, as GRAYMW_DEVICE says.")
]
IpOption: TypeAlias = Annotated[
    str | None,
    typer.Option("--ip", callback=_address, help="Address of the client; default: from Forwarded or X-Forwarded-For."),
]
AtOption: TypeAlias = Annotated[
    str | None, typer.Option("--at", metavar="TIME", help="When, in RFC 3339; default: now.")
]
