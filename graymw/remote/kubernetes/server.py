"""Where a Kubernetes API server is, and who we are to it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from graymw.errors import SourceError
from graymw.remote.tokens import current_token
from graymw.settings.access import Access

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a kubelet puts token, CA and namespace of a pod's service account."""


@dataclass(frozen=True, slots=True)
class ApiServer:
    """An API server.

    Attributes:
        url: Such as ``https://10.96.0.1:443``.
        access: TLS and token.
        account: Folder of the service account whose token is shown where ``access`` has no credentials; None: none.
    """

    url: str
    access: Access
    account: Path | None = None

    @classmethod
    def of_this_pod(
        cls, environ: Mapping[str, str], access: Access, account: Path = SERVICE_ACCOUNT
    ) -> ApiServer | None:
        """The one of the cluster that this process runs in; None outside of a cluster.

        Args:
            environ: Of the process; the kubelet names the server in it.
            access: What is set here comes before what the service account has.
            account: Folder of the service account.
        """
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT") or "443"
        if not host:
            return None
        authority = account / "ca.crt"
        if not access.ca and access.verify and authority.exists():
            access = dataclasses.replace(access, ca=str(authority))
        url = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        return cls(url, access, account)

    def headers(self) -> dict[str, str]:
        """Header that says who we are, with the token as it is now: a kubelet replaces it before it expires.

        Raises:
            SourceError: The token cannot be read.
        """
        otherwise = ""
        if self.account is not None and not self.access.token and not self.access.cert:
            path = self.account / "token"
            if not path.exists():
                raise SourceError(
                    f"the pod has no service account token at {path}; set automountServiceAccountToken: true, "
                    "or set GRAYMW_REGISTRY_TOKEN"
                )
            otherwise = str(path)
        token = current_token(self.access, otherwise)
        return {"authorization": f"Bearer {token}"} if token else {}
