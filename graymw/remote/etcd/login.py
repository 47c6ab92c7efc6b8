"""Who we are to an etcd with users: a token, got by name and password, renewed when it no longer counts."""

from __future__ import annotations

from typing import Final

from graymw.errors import SourceError
from graymw.remote.etcd.messages import Code, RefusedError, decoded, refusal_of
from graymw.remote.http import HttpClient
from graymw.remote.tokens import current_token
from graymw.settings.access import Access

_STALE: Final = ("auth token", "revision of auth store", "revision in header", "user name is empty")
"""What servers say of a token that ran out, was lost with a restart, or is older than a change of users or roles; 3.4
and 3.5 give these different codes."""

_NO_USERS: Final = "authentication is not enabled"


class Login:
    """Credentials and the token they gave. Holds nothing of an event loop, so that later sessions can go on with it.

    Args:
        access: User and password, or a ready token; without either, requests go as nobody.
        setting: Prefix of the settings that hold them, such as ``GRAYMW_REGISTRY``.

    Attributes:
        token: What the last log-in gave; empty without one.
    """

    def __init__(self, access: Access, setting: str) -> None:
        self._access = access
        self._setting = setting
        self.token = ""
        self._users = bool(access.user)

    async def headers(self, http: HttpClient) -> dict[str, str]:
        """What a request must carry; logs in where that has not happened yet. The token stands bare, without a scheme.

        Raises:
            SourceError: The log-in is refused, or nobody answers.
        """
        if self._access.token:
            return {"authorization": current_token(self._access)}
        if self._users and not self.token:
            await self._log_in(http)
        return {"authorization": self.token} if self.token else {}

    def renewable(self, error: RefusedError, *, watch: bool = False) -> bool:
        """Whether a refusal may be the token's fault and another log-in may mend it; forgets the token then.

        Args:
            watch: Whether a watch was refused: 3.5 says "permission denied" of those whatever is wrong.
        """
        stale = error.status == Code.UNAUTHENTICATED or any(said in error.told for said in _STALE)
        if not self._access.user or self._access.token or not (stale or (watch and "denied" in error.told.lower())):
            return False
        self._users, self.token = True, ""
        return True

    async def _log_in(self, http: HttpClient) -> None:
        credentials = {"name": self._access.user, "password": self._access.password}
        answer = await http.request("POST", "/v3/auth/authenticate", json=credentials)
        if answer.status == 200:
            self.token = str(decoded(answer.content).get("token", ""))
            return
        error = refusal_of(answer.content)
        if _NO_USERS in error.told:
            self._users = False
            return
        if error.status == Code.INVALID_ARGUMENT:
            settings = f"{self._setting}_USER and {self._setting}_PASSWORD"
            raise SourceError(f"etcd refuses user {self._access.user!r} or its password; mend {settings}")
        raise self.told(error, "log-in")

    def told(self, error: RefusedError, what: str) -> RefusedError:
        """A refusal as a sentence with its mend.

        Args:
            what: What was asked for, such as ``key 'a'``.
        """
        if "CommonName" in error.told:
            mend = f"set one without a CommonName to {self._setting}_CERT"
            return RefusedError(error.status, error.told, f"etcd with users takes no certificate with a name; {mend}")
        denied = error.status == Code.PERMISSION_DENIED or "denied" in error.told.lower()
        if "user name is empty" in error.told or (denied and not self._access.user):
            mend = f"set {self._setting}_USER and {self._setting}_PASSWORD"
            return RefusedError(error.status, error.told, f"etcd wants a user for {what}; {mend}")
        if denied:
            mend = f"grant its role the permission, or mend {self._setting}_USER"
            return RefusedError(error.status, error.told, f"etcd denies user {self._access.user!r} the {what}; {mend}")
        if error.status == Code.UNAVAILABLE:
            return RefusedError(error.status, error.told, f"etcd is not available now: {error.told}")
        return RefusedError(error.status, error.told, f"etcd refuses the {what}: {error.told or error.status}")
