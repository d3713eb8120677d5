"""Manifests of Kubernetes as a cluster would take them: rendered by kustomize, and who reaches whom."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import yaml

from tests.places import EXAMPLES

FOLDER = EXAMPLES / "kubernetes"
Labels = dict[str, str]
Pod = tuple[str, str]
"""Namespace and name of a pod's controller, or of a pod of other manifests."""
OTHERS: dict[Pod, tuple[Labels, Labels]] = {
    ("chat", "client"): ({"app": "client"}, {"weightwarden.example.org/clients": "true"}),
    ("desk", "operator"): ({"app": "browser"}, {"weightwarden.example.org/operators": "true"}),
    ("monitoring", "prometheus"): ({"app": "prometheus"}, {}),
    ("elsewhere", "stranger"): ({"app": "sidecar"}, {}),
    ("kube-system", "dns"): ({"k8s-app": "kube-dns"}, {}),
}
"""Pods of other manifests: their labels, and those of their namespaces."""


@dataclass(frozen=True)
class Cluster:
    """Manifests, and what follows from them.

    Attributes:
        manifests: all of them.
    """

    manifests: tuple[dict[str, Any], ...]

    def of_kind(self, *kinds: str) -> list[dict[str, Any]]:
        return [one for one in self.manifests if one["kind"] in kinds]

    @property
    def pods(self) -> dict[Pod, dict[str, Any]]:
        """Templates of the pods."""
        return {
            (one["metadata"]["namespace"], one["metadata"]["name"]): one["spec"]["template"]
            for one in self.of_kind("Deployment", "StatefulSet")
        }

    @property
    def namespaces(self) -> set[str]:
        return {namespace for namespace, _ in self.pods}

    @property
    def everyone(self) -> tuple[Pod, ...]:
        """The pods, those of other manifests, and in each namespace one that no policy names."""
        return (*self.pods, *OTHERS, *((namespace, "neighbour") for namespace in sorted(self.namespaces)))

    def labels(self, pod: Pod) -> tuple[Labels, Labels]:
        """Labels of a pod and of its namespace."""
        own, more = OTHERS.get(pod, ({"app": pod[1]}, {}))
        if pod in self.pods:
            own = self.pods[pod]["metadata"]["labels"]
        return own, {**more, "kubernetes.io/metadata.name": pod[0]}

    def allows(self, direction: str, pod: Pod, other: Pod, port: int) -> bool:
        """Whether the policies of a pod let it connect to another (Egress) or be connected to (Ingress)."""
        policies = [
            one["spec"]
            for one in self.of_kind("NetworkPolicy")
            if one["metadata"]["namespace"] == pod[0]
            and chosen(one["spec"]["podSelector"], self.labels(pod)[0])
            and direction in one["spec"]["policyTypes"]
        ]
        side = {"Egress": "to", "Ingress": "from"}[direction]
        rules = [rule for policy in policies for rule in policy.get(direction.lower(), [])]
        assert all(rule.keys() == {side, "ports"} for rule in rules)  # without one of them, it would mean all
        return not policies or any(
            {"protocol": "TCP", "port": port} in rule["ports"]
            and any(self._is_peer(peer, pod[0], other) for peer in rule[side])
            for rule in rules
        )

    def _is_peer(self, peer: dict[str, Any], namespace: str, pod: Pod) -> bool:
        labels, of_namespace = self.labels(pod)
        assert peer.keys() <= {"podSelector", "namespaceSelector"}
        own = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
        return chosen(peer.get("namespaceSelector", own), of_namespace) and chosen(peer.get("podSelector", {}), labels)

    def reached(self, port: int) -> set[tuple[Pod, Pod]]:
        """Pairs of pods of which the first reaches a port of the second."""
        return {
            (pod, other)
            for pod in self.everyone
            for other in self.pods
            if pod != other and self.allows("Egress", pod, other, port) and self.allows("Ingress", other, pod, port)
        }


def chosen(selector: dict[str, Any], labels: Labels) -> bool:
    """Whether a selector chooses what has these labels."""
    assert selector.keys() <= {"matchLabels", "matchExpressions"}
    wanted: Labels = selector.get("matchLabels", {})
    expressions: list[dict[str, Any]] = selector.get("matchExpressions", [])
    assert all(one["operator"] == "In" for one in expressions)
    return wanted.items() <= labels.items() and all(labels.get(one["key"]) in one["values"] for one in expressions)


@cache
def files() -> Cluster:
    """The base's manifests as they are written."""
    paths = sorted(path for path in (FOLDER / "base").rglob("*.yaml") if path.name != "kustomization.yaml")
    return Cluster(tuple(one for path in paths for one in yaml.safe_load_all(path.read_text())))


@cache
def rendered(folder: str) -> Cluster:
    """The manifests that kustomize makes of a folder. Skips, or fails where it is required, without kubectl."""
    program = shutil.which("kubectl")
    if program is None:
        reason = "kubectl, of version 1.27 or newer, is not installed"
        if os.environ.get("WEIGHTWARDEN_REQUIRE_KUBECTL"):
            pytest.fail(reason)
        pytest.skip(reason)
    done = subprocess.run(
        [program, "kustomize", str(FOLDER / folder)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "deprecated" not in done.stderr.lower()
    return Cluster(tuple(yaml.safe_load_all(done.stdout)))
