"""The whole on Kubernetes: manifests that it takes, policies that leave one way, and the same parts as in the units."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.examples.reading import command_of, flags_of, unit_of
from tests.places import EXAMPLES
from weightwarden.cli.sidecar.main import sidecar
from weightwarden.logger.files.private import read_private

VERSIONS = ("1.33", "1.37")
MANIFESTS: list[dict[str, Any]] = [
    manifest
    for path in sorted((EXAMPLES / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text())
]
PODS = {
    one["metadata"]["name"]: one["spec"]["template"]
    for one in MANIFESTS
    if one["kind"] in ("Deployment", "StatefulSet")
}
OTHERS = {
    "client": ({"app": "client"}, {"kubernetes.io/metadata.name": "chat", "weightwarden.example.org/clients": "true"}),
    "prometheus": ({"app": "prometheus"}, {"kubernetes.io/metadata.name": "monitoring"}),
    "stranger": ({"app": "sidecar"}, {"kubernetes.io/metadata.name": "elsewhere"}),
    "dns": ({"k8s-app": "kube-dns"}, {"kubernetes.io/metadata.name": "kube-system"}),
    "neighbour": ({"app": "neighbour"}, {"kubernetes.io/metadata.name": "weightwarden"}),
}
"""Pods of other manifests: their labels, and those of their namespaces."""
EVERYONE = (*PODS, *OTHERS)


def _labels(pod: str) -> tuple[dict[str, str], dict[str, str]]:
    """Labels of a pod and of its namespace."""
    if pod in PODS:
        return PODS[pod]["metadata"]["labels"], {"kubernetes.io/metadata.name": "weightwarden"}
    return OTHERS[pod]


def _chosen(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    assert selector.keys() <= {"matchLabels"}
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


def _allows(direction: str, pod: str, other: str, port: int) -> bool:
    """Whether the policies of a pod let it connect to another (Egress) or be connected to (Ingress)."""
    labels, namespace = _labels(pod)
    policies = [
        one["spec"]
        for one in MANIFESTS
        if one["kind"] == "NetworkPolicy"
        and namespace["kubernetes.io/metadata.name"] == one["metadata"]["namespace"]
        and _chosen(one["spec"]["podSelector"], labels)
        and direction in one["spec"]["policyTypes"]
    ]
    side = {"Egress": "to", "Ingress": "from"}[direction]
    rules = [rule for policy in policies for rule in policy.get(direction.lower(), [])]
    assert all(rule.keys() == {side, "ports"} for rule in rules)  # without one of them, it would mean all
    return not policies or any(
        {"protocol": "TCP", "port": port} in rule["ports"] and any(_is_peer(peer, other) for peer in rule[side])
        for rule in rules
    )


def _is_peer(peer: dict[str, Any], pod: str) -> bool:
    labels, namespace = _labels(pod)
    assert peer.keys() <= {"podSelector", "namespaceSelector"}
    own = {"matchLabels": {"kubernetes.io/metadata.name": "weightwarden"}}
    return _chosen(peer.get("namespaceSelector", own), namespace) and _chosen(peer.get("podSelector", {}), labels)


def _reached(port: int) -> set[tuple[str, str]]:
    """Pairs of pods of which the first reaches a port of the second."""
    return {
        (pod, other)
        for pod in EVERYONE
        for other in PODS
        if pod != other and _allows("Egress", pod, other, port) and _allows("Ingress", other, pod, port)
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(version: str) -> None:
    assert len(MANIFESTS) == 8
    for manifest in MANIFESTS:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_kubernetes_sees_a_mistake() -> None:
    wrong = {**MANIFESTS[0], "metadata": {"name": "x", "lables": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_only_the_sidecar_reaches_the_inference_server() -> None:
    assert _reached(8000) == {("sidecar", "inference")}


def test_clients_reach_the_sidecar_and_prometheus_its_metrics() -> None:
    assert _reached(8443) == {("client", "sidecar")}
    assert _reached(9464) == {("prometheus", "sidecar")}


@pytest.mark.parametrize("port", [22, 53, 443, 8000, 8443, 9464])
def test_the_inference_server_reaches_nobody(port: int) -> None:
    assert not any(_allows("Egress", "inference", other, port) for other in EVERYONE)


def test_a_pod_that_no_policy_names_reaches_nobody() -> None:
    assert not any(_allows("Egress", "neighbour", other, 8000) for other in EVERYONE)


@pytest.mark.parametrize("name", PODS)
def test_pods_are_confined(name: str) -> None:
    pod = PODS[name]["spec"]
    assert pod["automountServiceAccountToken"] is False
    assert pod["dnsPolicy"] == "None"
    assert pod["dnsConfig"] == {"nameservers": ["127.0.0.1"]}
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & pod.keys()
    assert all("hostPath" not in volume for volume in pod["volumes"])
    for container in (*pod["containers"], *pod.get("initContainers", [])):
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_nothing_of_the_inference_server_is_asked_by_the_kubelet() -> None:
    [container] = PODS["inference"]["spec"]["containers"]
    assert not [key for key in container if key.endswith("Probe")]
    assert "lifecycle" not in container


def test_the_sidecar_is_on_another_node() -> None:
    [term] = PODS["sidecar"]["spec"]["affinity"]["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert term["topologyKey"] == "kubernetes.io/hostname"
    assert _chosen(term["labelSelector"], _labels("inference")[0])


def test_the_inference_server_is_started_as_its_unit_does() -> None:
    [container] = PODS["inference"]["spec"]["containers"]
    unit = unit_of("vllm/weightwarden-vllm.service")
    assert flags_of(container["args"]) == flags_of(command_of(unit)) | {"--host": "0.0.0.0", "--port": "8000"}
    environment = dict(one.split("=") for line in unit["Environment"] for one in line.split())
    given = {one["name"]: one["value"] for one in container["env"]}
    assert given.items() >= environment.items() - {("HOME", environment["HOME"])}


def test_the_sidecar_finds_its_files_and_its_upstream() -> None:
    pod = PODS["sidecar"]["spec"]
    [container] = pod["containers"]
    options = {str(parameter.name).upper() for parameter in sidecar.commands["run"].params}
    given = {one["name"].removeprefix("WEIGHTWARDEN_SIDECAR_"): one["value"] for one in container["env"]}
    assert given.keys() <= options
    [service] = [one for one in MANIFESTS if one["kind"] == "Service" and one["metadata"]["name"] == "inference"]
    [port] = service["spec"]["ports"]
    assert given["UPSTREAM"] == f"http://$(INFERENCE_SERVICE_HOST):{port['port']}"
    assert pod.get("enableServiceLinks", True)
    active = tomllib.loads((EXAMPLES / "sidecar/sidecar.toml").read_text())
    wanted = {
        str(value) for value in ({key.upper().replace("-", "_"): v for key, v in active.items()} | given).values()
    }
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    for path in (one for one in wanted if re.match("/(etc|srv|var)/", one)):
        assert any(path == mount or path.startswith(f"{mount}/") for mount in mounts), path
    claimed = {
        one["metadata"]["name"]
        for one in next(m for m in MANIFESTS if m["kind"] == "StatefulSet")["spec"]["volumeClaimTemplates"]
    }
    volumes = {volume["name"] for volume in pod["volumes"]} | claimed
    assert {
        mount["name"] for one in (*pod["containers"], *pod["initContainers"]) for mount in one["volumeMounts"]
    } == volumes


def test_the_sidecars_keys_are_readable_by_its_user_alone(tmp_path: Path) -> None:
    pod = PODS["sidecar"]["spec"]
    [prepare] = pod["initContainers"]
    given, kept_in = tmp_path / "keys", tmp_path / "kept"
    for folder in (given, kept_in):
        folder.mkdir()
    (given / "log.key").write_bytes(bytes(32))
    (given / "log.key").chmod(0o440)
    command = prepare["command"][-1].replace("/run/keys", str(given)).replace("/etc/weightwarden/keys", str(kept_in))
    subprocess.run(["sh", "-c", command.replace("/var/lib/weightwarden", str(tmp_path))], check=True, timeout=20)
    assert read_private(kept_in / "log.key") == bytes(32)
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == 10001
    [kept] = [volume for volume in pod["volumes"] if volume["name"] == "keys"]
    assert kept["emptyDir"]["medium"] == "Memory"
    [container] = pod["containers"]
    assert "secret" not in {mount["name"] for mount in container["volumeMounts"]}
