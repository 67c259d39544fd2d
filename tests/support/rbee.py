"""Both example services as processes, on free ports, with tokens and a model to fetch.

with Rbee(place) as rbee:            place: a directory of its own
    rbee.start("hive"); rbee.start("queen")
    rbee.post("hive", "/v2/pools", {…})
    rbee.metric("hive", "rbee_hive_workers_total", state="idle")
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, Self

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ports import free_port
from tests.support.waiting import eventually

__all__ = ["MODEL", "MODEL_SHA256", "SCOPES", "Process", "Rbee", "samples", "value_of"]

ROOT: Final = Path(__file__).parents[2]
MODEL: Final = b"GGUF" + bytes(range(256)) * 16
MODEL_SHA256: Final = hashlib.sha256(MODEL).hexdigest()
SCOPES: Final = {
    "alice": ["tasks", "nodes", "pools", "models"],
    "bob": ["tasks"],
    "queen": ["executions"],
}


def samples(exposition: str) -> list[tuple[str, dict[str, str], float]]:
    """Every sample of a page of metrics: name, labels, value."""
    return [
        (sample.name, dict(sample.labels), sample.value)
        for family in text_string_to_metric_families(exposition)
        for sample in family.samples
    ]


def value_of(exposition: str, name: str, **labels: str) -> float:
    """The sum of a metric's samples that have these labels; -1 where there is none."""
    found = [
        value
        for sample, its, value in samples(exposition)
        if sample == name and labels.items() <= its.items()
    ]
    return sum(found) if found else -1.0


class Process:
    """A program that serves HTTP; what it says goes to a file."""

    def __init__(
        self, command: list[str], port: int, output: Path, environment: dict[str, str] | None = None
    ) -> None:
        self._command = command
        self._environment = {**os.environ, **(environment or {})}
        self.port = port
        self.output = output
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def said(self) -> str:
        return self.output.read_text("utf-8", "replace") if self.output.exists() else ""

    def start(self, healthy: str = "/healthz") -> None:
        with self.output.open("ab") as file:
            self.process = subprocess.Popen(
                self._command, stdout=file, stderr=file, env=self._environment, cwd=ROOT
            )
        eventually(lambda: self._answers(healthy), f"{self._command[:4]} serves", 120)

    def _answers(self, path: str) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, f"{self._command[:4]} ended:\n{self.said()}"
        try:
            return httpx.get(self.url + path, timeout=10).status_code == 200
        except httpx.TransportError:
            return False

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(120)

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Rbee:
    """The two services and what they need."""

    def __init__(self, place: Path, **settings: object) -> None:
        self.place = place
        self.audit = place / "audit"
        self.tokens = {user: f"{user}-token-{os.urandom(8).hex()}" for user in SCOPES}
        self.tokens_file = place / "tokens.toml"
        self.write_tokens()
        (place / "hive.token").write_text(self.tokens["queen"] + "\n")
        (place / "sources").mkdir()
        (place / "sources" / "llama.gguf").write_bytes(MODEL)
        (place / "sources" / "text.gguf").write_bytes(b"no model")
        (place / "secret").write_bytes(b"GGUF but outside")
        # Where a test is not about them, no limit of time is met, however slow the machine.
        self.settings: dict[str, object] = {
            "host_name": "hive1",
            "rate_limit": 100_000,
            "record_timeout": 60,
            "health_interval": 0.1,
            "health_timeout": 60,
            "breaker_restarts": 3,
            "breaker_window": 3600,
            "breaker_cooldown": 3600,
            "shutdown_grace": 60,
            **settings,
        }
        ports = {"hive": free_port(), "queen": free_port()}
        self.services = {name: self._process(name, port, ports) for name, port in ports.items()}
        self._client = httpx.Client(timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for service in self.services.values():
            service.close()
        self._client.close()

    def write_tokens(self, *without: str) -> None:
        text = ""
        for user, token in self.tokens.items():
            if user not in without:
                digest = hashlib.sha256(token.encode()).hexdigest()
                text += f'[{user}]\nsha256 = "{digest}"\nscopes = {SCOPES[user]}\n'
        self.tokens_file.write_text(text)

    def start(self, *names: str) -> None:
        for name in names:
            self.services[name].start()

    def ask(
        self,
        method: str,
        service: str,
        path: str,
        body: object = None,
        *,
        user: str | None = "alice",
        request_id: str = "",
    ) -> httpx.Response:
        headers = {"x-request-id": request_id} if request_id else {}
        if user is not None:
            headers["authorization"] = f"Bearer {self.tokens.get(user, user)}"
        url = self.services[service].url + path
        return self._client.request(method, url, json=body, headers=headers)

    def get(self, service: str, path: str, **rest: Any) -> Any:
        answer = self.ask("GET", service, path, **rest)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, service: str, path: str, body: object, **rest: Any) -> Any:
        answer = self.ask("POST", service, path, body, **rest)
        assert answer.status_code in (201, 202), f"{answer.status_code}: {answer.text}"
        return answer.json()

    def pool(self, replicas: int = 2, pool_id: str = "a") -> list[dict[str, Any]]:
        """Fetch the model and make a pool of it; its workers, once they are idle."""
        self.post("hive", "/v2/models", {"model_ref": "llama", "source": "llama.gguf"})
        asked = {"pool_id": pool_id, "model_ref": "llama", "replicas": replicas, "backend": "cuda"}
        self.post("hive", "/v2/pools", asked)
        eventually(
            lambda: [worker["state"] for worker in self.workers(pool_id)] == ["idle"] * replicas
        )
        return self.workers(pool_id)

    def workers(self, pool_id: str = "a") -> list[dict[str, Any]]:
        pools = {pool["pool_id"]: pool for pool in self.get("hive", "/v2/pools")["pools"]}
        workers: list[dict[str, Any]] = pools[pool_id]["workers"]
        return workers

    def task(self, request_id: str = "", *, until: str = "completed", **body: object) -> str:
        """Submit one and wait for its end; its id."""
        asked = {"model_ref": "llama", "prompt": "Who are you?", **body}
        task_id: str = self.post("queen", "/v2/tasks", asked, request_id=request_id)["task_id"]
        eventually(lambda: self.state(task_id) == until, f"{task_id} is {until}")
        return task_id

    def state(self, task_id: str) -> str:
        state: str = self.get("queen", f"/v2/tasks/{task_id}")["state"]
        return state

    def exposition(self, service: str) -> str:
        return self._client.get(self.services[service].url + "/metrics").text

    def metric(self, service: str, name: str, **labels: str) -> float:
        return value_of(self.exposition(service), name, **labels)

    def _process(self, name: str, port: int, ports: dict[str, int]) -> Process:
        settings = {
            "port": port,
            "audit_dir": self.audit,
            "tokens_file": self.tokens_file,
            "hives": f"hive1=http://127.0.0.1:{ports['hive']}",
            "hive_token_file": self.place / "hive.token",
            "models_dir": self.place / "models",
            "model_sources": self.place / "sources",
            **self.settings,
        }
        environment = {f"RBEE_{key.upper()}": str(value) for key, value in settings.items()}
        environment["PYTHONPATH"] = f"{ROOT / 'examples'}:{ROOT}"
        command = [sys.executable, "-W", "error", "-m", "rbee", name]
        return Process(command, port, self.place / f"{name}.log", environment)
