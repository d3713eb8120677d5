"""The whole on Kubernetes: manifests that it takes, policies that leave one way, and the same parts as in the units."""

import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import click
import kubernetes_validate
import pytest

from tests.examples.cluster import Cluster, Pod, chosen, files, rendered
from tests.examples.reading import command_of, flags_of, unit_of
from tests.places import EXAMPLES
from weightwarden.cli.commands.serve.command import serve
from weightwarden.cli.commands.serve.models import OF_ONE_MODEL
from weightwarden.cli.sidecar.main import sidecar
from weightwarden.logger.files.private import read_private
from weightwarden.logger.sidecar.upstream.replica_url import replica_urls

VERSIONS = ("1.33", "1.37")
THREE = "overlays/three-models"
SERVERS = {
    "base": {"weightwarden": 2},
    THREE: {"weightwarden-smollm2": 2, "weightwarden-qwen3": 3, "weightwarden-llama": 2},
}
"""Inference servers by namespace."""
DAEMONS: dict[str, tuple[click.Command, str, str]] = {
    "sidecar": (sidecar.commands["run"], "WEIGHTWARDEN_SIDECAR_", "sidecar/sidecar.toml"),
    "verifier": (serve, "WEIGHTWARDEN_SERVE_", "verifier/verifier.toml"),
}


@pytest.fixture(params=["files", "base", THREE])
def cluster(request: pytest.FixtureRequest) -> Cluster:
    return files() if request.param == "files" else rendered(request.param)


def _named(cluster: Cluster, *names: str) -> list[Pod]:
    return [pod for pod in cluster.pods if pod[1] in names]


def _container(cluster: Cluster, pod: Pod) -> dict[str, Any]:
    [container] = cluster.pods[pod]["spec"]["containers"]
    assert isinstance(container, dict)
    return container


def _environment(container: dict[str, Any]) -> dict[str, str]:
    return {one["name"]: one["value"] for one in container["env"]}


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_takes_every_manifest(cluster: Cluster, version: str) -> None:
    assert len(cluster.manifests) in (15, 49)
    for manifest in cluster.manifests:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_kubernetes_sees_a_mistake() -> None:
    wrong = {**files().manifests[0], "metadata": {"name": "x", "lables": {}}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_kustomize_leaves_the_base_as_it_is_written() -> None:
    def key(one: dict[str, Any]) -> tuple[str, str]:
        return one["kind"], one["metadata"]["name"]

    assert sorted(rendered("base").manifests, key=key) == sorted(files().manifests, key=key)


@pytest.mark.parametrize("folder", SERVERS)
def test_each_model_has_a_sidecar_and_its_servers_and_all_share_a_verifier(folder: str) -> None:
    cluster = rendered(folder)
    assert {
        one["metadata"]["namespace"]: one["spec"]["replicas"]
        for one in cluster.of_kind("StatefulSet")
        if one["metadata"]["name"] == "inference"
    } == SERVERS[folder]
    assert {namespace for namespace, _ in _named(cluster, "sidecar")} == SERVERS[folder].keys()
    assert len(_named(cluster, "verifier")) == 1
    assert {one["metadata"]["name"] for one in cluster.of_kind("Namespace")} == cluster.namespaces


@pytest.mark.parametrize("folder", SERVERS)
def test_a_sidecar_knows_each_server_of_its_model_by_a_service(folder: str) -> None:
    cluster = rendered(folder)
    for namespace, count in SERVERS[folder].items():
        pod = cluster.pods[namespace, "sidecar"]["spec"]
        assert pod.get("enableServiceLinks", True)
        given = _environment(_container(cluster, (namespace, "sidecar")))["WEIGHTWARDEN_SIDECAR_UPSTREAM"]
        servers = replica_urls(given.split())
        assert [one.name for one in servers] == [f"inference-{at}" for at in range(count)]
        services = {
            one["metadata"]["name"]: one["spec"]
            for one in cluster.of_kind("Service")
            if one["metadata"]["namespace"] == namespace
        }
        assert services["inference"]["clusterIP"] == "None"
        labels = cluster.labels((namespace, "inference"))[0]
        for server in servers:
            service = services[server.name]
            variable = f"{server.name.upper().replace('-', '_')}_SERVICE_HOST"
            assert server.url == f"http://$({variable}):{service['ports'][0]['port']}"
            assert chosen(
                service["selector"] and {"matchLabels": service["selector"]},
                {**labels, "statefulset.kubernetes.io/pod-name": server.name},
            )


def test_only_the_sidecar_reaches_the_inference_servers_of_its_model(cluster: Cluster) -> None:
    assert cluster.reached(8000) == {
        ((namespace, "sidecar"), (namespace, "inference")) for namespace, _ in _named(cluster, "sidecar")
    }


def test_clients_reach_the_sidecars_and_prometheus_their_metrics(cluster: Cluster) -> None:
    sidecars = _named(cluster, "sidecar")
    assert cluster.reached(8443) == {(("chat", "client"), pod) for pod in sidecars}
    assert cluster.reached(9464) == {(("monitoring", "prometheus"), pod) for pod in sidecars}


def test_operators_and_prometheus_reach_the_verifier(cluster: Cluster) -> None:
    [verifier] = _named(cluster, "verifier")
    assert cluster.reached(8090) == {(("desk", "operator"), verifier), (("monitoring", "prometheus"), verifier)}


@pytest.mark.parametrize("port", [22, 53, 443, 8000, 8090, 8443, 9464])
def test_inference_servers_and_the_verifier_reach_nobody(cluster: Cluster, port: int) -> None:
    for pod in _named(cluster, "inference", "verifier"):
        assert not any(cluster.allows("Egress", pod, other, port) for other in cluster.everyone)


def test_a_pod_that_no_policy_names_reaches_nobody(cluster: Cluster) -> None:
    for namespace in cluster.namespaces:
        neighbour = (namespace, "neighbour")
        assert not any(cluster.allows("Egress", neighbour, other, 8000) for other in cluster.everyone)


def test_pods_are_confined(cluster: Cluster) -> None:
    for template in cluster.pods.values():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["dnsPolicy"] == "None"
        assert pod["dnsConfig"] == {"nameservers": ["127.0.0.1"]}
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not {"hostNetwork", "hostPID", "hostIPC", "shareProcessNamespace"} & pod.keys()
        assert all(
            volume.keys() & {"configMap", "emptyDir", "persistentVolumeClaim", "secret"} for volume in pod["volumes"]
        )
        for container in (*pod["containers"], *pod.get("initContainers", [])):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_nothing_of_the_inference_servers_is_asked_by_the_kubelet(cluster: Cluster) -> None:
    for pod in _named(cluster, "inference"):
        container = _container(cluster, pod)
        assert not [key for key in container if key.endswith("Probe")]
        assert "lifecycle" not in container


@pytest.mark.parametrize(("name", "away_from"), [("sidecar", ["inference"]), ("verifier", ["inference", "sidecar"])])
def test_who_is_trusted_is_on_another_node_than_who_is_not(cluster: Cluster, name: str, away_from: list[str]) -> None:
    for pod in _named(cluster, name):
        affinity = cluster.pods[pod]["spec"]["affinity"]
        [term] = affinity["podAntiAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        assert term["namespaceSelector"] == {}  # of all namespaces
        for other in _named(cluster, *away_from):
            assert chosen(term["labelSelector"], cluster.labels(other)[0])


def test_an_inference_server_is_started_as_its_unit_does() -> None:
    container = _container(files(), ("weightwarden", "inference"))
    unit = unit_of("vllm/weightwarden-vllm.service")
    assert flags_of(container["args"]) == flags_of(command_of(unit)) | {"--host": "0.0.0.0", "--port": "8000"}
    environment = dict(one.split("=") for line in unit["Environment"] for one in line.split())
    assert _environment(container).items() >= environment.items() - {("HOME", environment["HOME"])}


def test_an_inference_server_serves_the_model_that_is_mounted(cluster: Cluster) -> None:
    for pod in _named(cluster, "inference"):
        container = _container(cluster, pod)
        [model] = [mount["mountPath"] for mount in container["volumeMounts"] if mount["name"] == "model"]
        assert flags_of(container["args"])["--model"] == model


@pytest.mark.parametrize("name", DAEMONS)
def test_a_daemons_files_are_mounted_and_its_variables_are_options(cluster: Cluster, name: str) -> None:
    command, prefix, example = DAEMONS[name]
    options = {str(parameter.name).upper() for parameter in command.params}
    for pod in _named(cluster, name):
        container = _container(cluster, pod)
        given = {key.removeprefix(prefix): value for key, value in _environment(container).items()}
        assert given.keys() <= options
        mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
        for path in _paths(example, given) if len(cluster.namespaces) == 1 or name == "sidecar" else ():
            assert any(path == mount or path.startswith(f"{mount}/") for mount in mounts), path
        _check_volumes(cluster, pod)


def test_the_verifier_of_three_models_has_the_files_of_each() -> None:
    cluster = rendered(THREE)
    [verifier] = _named(cluster, "verifier")
    container = _container(cluster, verifier)
    mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
    assert _environment(container)["WEIGHTWARDEN_SERVE_MODELS_PATH"] == "/etc/weightwarden-verifier/models.toml"
    tables = tomllib.loads((EXAMPLES / "kubernetes" / THREE / "verifier/models.toml").read_text())["model"]
    assert [f"weightwarden-{table.pop('name')}" for table in tables] == list(SERVERS[THREE])
    for table in tables:
        assert table.keys() == {"model", "policy", "public-key", "archives"}
        assert {f"--{key}" for key in table} <= set(OF_ONE_MODEL)
        for value in table.values():
            [path] = value if isinstance(value, list) else [value]
            assert any(path == mount or path.startswith(f"{mount}/") for mount in mounts), path
    assert all(table["archives"][0] in mounts for table in tables)


def _paths(example: str, given: dict[str, str]) -> list[str]:
    """The files and folders of a daemon's example, and of the variables over it."""
    active = tomllib.loads((EXAMPLES / example).read_text())
    said = {key.upper().replace("-", "_"): value for key, value in active.items()} | given
    values = [one for value in said.values() for one in (value if isinstance(value, list) else [value])]
    return [str(one) for one in values if re.match("/(etc|srv|var)/", str(one))]


def _check_volumes(cluster: Cluster, pod: Pod) -> None:
    """Every volume of a pod is mounted, and every mount is a volume."""
    spec = cluster.pods[pod]["spec"]
    claimed = {
        claim["metadata"]["name"]
        for one in cluster.of_kind("StatefulSet")
        if (one["metadata"]["namespace"], one["metadata"]["name"]) == pod
        for claim in one["spec"].get("volumeClaimTemplates", [])
    }
    mounted = {mount["name"] for one in (*spec["containers"], *spec["initContainers"]) for mount in one["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]} | claimed
    paths = [mount["mountPath"] for mount in spec["containers"][0]["volumeMounts"]]
    assert len(set(paths)) == len(paths)


def test_the_verifier_reads_the_archives_that_each_sidecar_writes(cluster: Cluster) -> None:
    [verifier] = _named(cluster, "verifier")
    volumes = {one["name"]: one for one in cluster.pods[verifier]["spec"]["volumes"]}
    read = {
        _storage(cluster, verifier[0], volumes[mount["name"]], "read")
        for mount in _container(cluster, verifier)["volumeMounts"]
        if mount["mountPath"].startswith("/var/lib/weightwarden/archives")
    }
    written = set()
    for pod in _named(cluster, "sidecar"):
        [volume] = [one for one in cluster.pods[pod]["spec"]["volumes"] if one["name"] == "archives"]
        written.add(_storage(cluster, pod[0], volume, "write"))
    assert read == written
    assert len(written) == len(_named(cluster, "sidecar"))


def _storage(cluster: Cluster, namespace: str, volume: dict[str, Any], how: str) -> str:
    """What a volume is: the folder of the volume that its claim is bound to, or the claim in its namespace."""
    claim = volume["persistentVolumeClaim"]
    assert claim.get("readOnly", False) == (how == "read")
    wanted = {"namespace": namespace, "name": claim["claimName"]}
    [made] = [one for one in cluster.of_kind("PersistentVolumeClaim") if wanted.items() <= one["metadata"].items()]
    bound = [one for one in cluster.of_kind("PersistentVolume") if one["spec"]["claimRef"] == wanted]
    if not bound:
        return f"{namespace}/{claim['claimName']}"
    [one] = bound
    assert made["spec"]["storageClassName"] == one["spec"]["storageClassName"] == ""
    assert made["spec"]["accessModes"] == one["spec"]["accessModes"]
    assert one["spec"]["nfs"].get("readOnly", False) == (how == "read")
    return str(one["spec"]["nfs"]["path"])


@pytest.mark.parametrize(("name", "user"), [("sidecar", 10001), ("verifier", 10002)])
def test_keys_are_readable_by_their_daemons_user_alone(tmp_path: Path, name: str, user: int) -> None:
    pod = files().pods["weightwarden", name]["spec"]
    [prepare] = pod["initContainers"]
    paths = {mount["name"]: mount["mountPath"] for mount in prepare["volumeMounts"]}
    given, kept_in = tmp_path / "keys", tmp_path / "kept"
    for folder in (given, kept_in):
        folder.mkdir()
    (given / "log.key").write_bytes(bytes(32))
    (given / "log.key").chmod(0o440)
    command = prepare["command"][-1].replace(paths["secret"], str(given)).replace(paths["keys"], str(kept_in))
    subprocess.run(["sh", "-c", command], check=True, timeout=20)
    assert read_private(kept_in / "log.key") == bytes(32)
    assert pod["securityContext"]["runAsUser"] == pod["securityContext"]["fsGroup"] == user
    [kept] = [volume for volume in pod["volumes"] if volume["name"] == "keys"]
    assert kept["emptyDir"]["medium"] == "Memory"
    container = _container(files(), ("weightwarden", name))
    assert "secret" not in {mount["name"] for mount in container["volumeMounts"]}
    assert {value for value in _environment(container).values() if value.endswith(".key")} <= {
        f"{paths['keys']}/{file}" for file in ("log.key", "seed.key", "tls.key", "audit.key")
    }


def test_the_verifier_reads_what_the_sidecars_group_may() -> None:
    writer = files().pods["weightwarden", "sidecar"]["spec"]["securityContext"]
    reader = files().pods["weightwarden", "verifier"]["spec"]["securityContext"]
    assert reader["supplementalGroups"] == [writer["runAsGroup"]]
    assert reader["runAsUser"] != writer["runAsUser"]
