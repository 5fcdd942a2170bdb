"""The command `s` of Serverless Devs, run without revealing secrets on the screen or in log files.

`s` prints each function with its environment, and logs its output in its home folder. The output is masked
line by line. The log files are masked after every run, even a failed one; those of a killed run are masked by
the next. The exit code proves nothing (deploy-component.md): callers read the result back from the cloud.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast
from urllib.parse import unquote

from project.secret_settings import MASK, is_secret, mask_settings, password_in

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

__all__ = ["ACCESS", "Serverless", "missing_command", "secrets_of"]

CLI = "@serverless-devs/s@3.1.10"
"""The npm package of the command."""
ACCESS = "mpaas_push_serverless_devs_key"
"""Variable with the access for `s`, which reads an access from every variable with this suffix
(deploy.md: Secrets and credentials)."""
SHORTEST_SECRET = 4
"""Length of the shortest masked secret; a shorter one would match almost every line."""


def secrets_of(env: Mapping[str, str]) -> frozenset[str]:
    """Return the keys, tokens and passwords in URLs among the settings, in each form that `s` prints."""
    secrets: set[str] = set()
    for name, value in env.items():
        if password := password_in(value):
            secrets |= {password, unquote(password)}
        elif is_secret(name, value) and not (name.endswith("_serverless_devs_key") and value.startswith("{")):
            secrets |= {value, *(line.strip() for line in value.splitlines())}
    in_json = {json.dumps(text, ensure_ascii=ascii_)[1:-1] for text in secrets for ascii_ in (True, False)}
    return frozenset(form for form in secrets | in_json if len(form) >= SHORTEST_SECRET)


def missing_command(env: Mapping[str, str]) -> str | None:
    """Return what to do if `s` is not installed; None if it is."""
    if shutil.which("s", path=env.get("PATH")) is None:
        return f"the command s is not installed: npm install -g {CLI}"
    return None


class Serverless:
    """`s` for one descriptor and one set of settings.

    Args:
        descriptor: The file to deploy, such as ``s.staging.yaml``; paths in it are relative to its folder.
        env: The settings, with the deployer's key as ``ALIBABA_CLOUD_ACCESS_KEY_ID`` and so on.
        environments: Environments of the functions, as deployed and as described: `s` prints both when it
            changes one.
    """

    def __init__(
        self, descriptor: Path, env: Mapping[str, str], environments: Iterable[Mapping[str, str]] = ()
    ) -> None:
        self._descriptor = descriptor
        secrets = {secret for variables in (env, *environments) for secret in secrets_of(variables)}
        self._secrets = sorted(secrets, key=len, reverse=True)
        self._env = {**env, **_access(env)}
        self._access = ACCESS if ACCESS in self._env else env.get("SERVERLESS_ACCESS", "default")

    def deploy(self, copy: Path, env: Mapping[str, str]) -> int:
        """Deploy all functions of a copy of the descriptor, with additional settings.

        Returns:
            The exit code, which proves nothing.
        """
        return self._run(["deploy", "-y", "-t", copy.name], env, copy.parent)

    def deploy_trigger(self, resource: str, trigger: str, env: Mapping[str, str]) -> int:
        """Deploy one trigger; the component skips some triggers when it deploys a function."""
        return self._run([resource, "deploy", "-y", "--trigger", trigger, "-t", self._descriptor.name], env)

    def publish_layer(self, region: str, layer: str, package: Path, runtime: str) -> int:
        """Publish a version of a layer, unless the latest one has the same content."""
        command = ["cli", "fc3", "layer", "publish", "--region", region, "--layer-name", layer]
        return self._run([*command, "--code", str(package), "--compatible-runtime", runtime])

    def remove(self) -> int:
        """Remove all functions with their triggers."""
        return self._run(["remove", "-y", "-t", self._descriptor.name])

    def logs(self, resource: str) -> int:
        """Follow a function's logs until interrupted."""
        return self._run([resource, "logs", "--tail", "-t", self._descriptor.name])

    def mask(self, text: str) -> str:
        """Mask the settings' secrets in a text, and everything else that is secret by name or form."""
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return mask_settings(text)

    def _run(
        self, arguments: Sequence[str], env: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> int:
        try:
            with subprocess.Popen(
                ["s", *arguments, "-a", self._access],  # noqa: S607 - the operator's PATH finds it
                cwd=folder or self._descriptor.parent,
                env={**self._env, **(env or {})},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            ) as process:
                try:
                    for line in cast("IO[str]", process.stdout):
                        sys.stdout.write(self.mask(line))
                        sys.stdout.flush()
                except KeyboardInterrupt:
                    process.terminate()  # otherwise it would continue to write to its log files
                    raise
            return process.returncode
        finally:
            for path in self._log_files():
                self._mask_file(path)

    def _log_files(self) -> Iterable[Path]:
        home = Path(self._env.get("serverless_devs_config_home") or self._env.get("HOME") or "~").expanduser()
        return (path for path in (home / ".s" / "logs").rglob("*") if path.is_file())

    def _mask_file(self, path: Path) -> None:
        try:
            text = path.read_text("utf-8", errors="surrogateescape")
            if (masked := self.mask(text)) != text:
                path.write_text(masked, "utf-8", errors="surrogateescape")
        except OSError as error:
            print(f"warning: {path} may hold secrets and cannot be masked: {error.strerror}", file=sys.stderr)


def _access(env: Mapping[str, str]) -> dict[str, str]:
    """Return the deployer's key from the environment as an access for `s`; empty if there is none."""
    key, secret = env.get("ALIBABA_CLOUD_ACCESS_KEY_ID"), env.get("ALIBABA_CLOUD_ACCESS_KEY_SECRET")
    if not key or not secret:
        return {}
    access = {
        "AccountID": env.get("ALIBABA_CLOUD_ACCOUNT_ID", ""),
        "AccessKeyID": key,
        "AccessKeySecret": secret,
    }
    if token := env.get("ALIBABA_CLOUD_SECURITY_TOKEN"):
        access["SecurityToken"] = token
    return {ACCESS: json.dumps(access)}
