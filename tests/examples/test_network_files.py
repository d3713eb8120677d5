"""The network's rule sets, units and devices as files: they fit each other, and each class is tried."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.ways_out.site import RULES, Site
from benchmarks.ways_out.tries import TRIES
from tests.examples.reading import command_of, flags_of, unit_of
from tests.places import EXAMPLES


def test_every_class_is_tried() -> None:
    counters = set(re.findall(r"^counter (\w+) ", (RULES / "counters.nft").read_text(), re.MULTILINE))
    used = set(re.findall(r"counter name (\w+)", (RULES / "classes.nft").read_text()))
    assert used == counters
    assert counters - {"answers"} == {one.counter for one in TRIES} - {"unsolicited"}


def test_the_site_is_that_of_the_other_examples() -> None:
    site, serves = Site.read(), unit_of("vllm/weightwarden-vllm.service")
    flags = flags_of(command_of(serves))
    assert (flags["--host"], flags["--port"]) == (str(site.inference_address), str(site.inference_port))
    assert serves["IPAddressAllow"] == [f"localhost {site.sidecar_address}"]


def test_units_load_the_rule_sets_that_there_are() -> None:
    unit = unit_of("network/weightwarden-network@.service")
    folder = "/etc/weightwarden/network"
    assert command_of(unit) == ["/usr/sbin/nft", "--includepath", folder, "--file", f"{folder}/%i.nft"]
    enabled = set(re.findall(r"weightwarden-network@(\w+)", (RULES / "weightwarden-network@.service").read_text()))
    assert enabled == {"link", "sidecar", "inference"}
    assert all((RULES / f"{name}.nft").is_file() for name in enabled)
    needed = unit_of("network/weightwarden-sidecar.service.d/network.conf")
    both = "weightwarden-network@link.service weightwarden-network@sidecar.service"
    assert needed["Requires"] == needed["After"] == [both]
    bound = unit_of("network/weightwarden-network@link.service.d/device.conf")
    device = [f"sys-subsystem-net-devices-{Site.read().inference_link}.device"]
    assert bound["BindsTo"] == bound["After"] == bound["WantedBy"] == device


@pytest.mark.parametrize("name", ["10-inference0.network", "10-sidecar0.network"])
def test_devices_have_the_sites_addresses_and_need_neither_arp_nor_ipv6(name: str) -> None:
    device, site = unit_of(f"network/{name}"), Site.read()
    sides = {
        site.inference_link: (site.sidecar_mac, site.sidecar_address),
        site.sidecar_link: (site.inference_mac, site.inference_address),
    }
    assert device["Name"] == [Path(name).stem.removeprefix("10-")]
    own, other = sides.pop(device["Name"][0]), *sides.values()
    assert device["MACAddress"] == [own[0].hex(":")]
    assert device["Address"] == [f"{own[1]}/30", str(other[1])]  # the device's, and its neighbour's
    assert device["LinkLayerAddress"] == [other[0].hex(":")]
    assert device["ARP"] == device["LinkLocalAddressing"] == device["IPv6AcceptRA"] == device["EmitLLDP"] == ["no"]
    assert not {"Gateway", "DNS", "DHCP"} & device.keys()


def test_the_inference_servers_unit_has_one_device_and_no_raw_sockets(tmp_path: Path) -> None:
    unit = unit_of("vllm/weightwarden-vllm.service")
    assert unit["RestrictNetworkInterfaces"] == [f"lo {Site.read().sidecar_link}"]
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed")
    path = tmp_path / "weightwarden-vllm.service"
    path.write_text((EXAMPLES / "vllm/weightwarden-vllm.service").read_text())
    command = [program, "security", "--offline=yes", "--json=short", "--no-pager", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    closed = {one["json_field"]: one["set"] for one in json.loads(done.stdout)}
    for name in ("RestrictAddressFamilies_AF_PACKET", "CapabilityBoundingSet_CAP_NET_ADMIN", "NoNewPrivileges"):
        assert closed[name], name
