"""The rule sets of the network as files: they fit the other examples, and each class is tried."""

import re

from benchmarks.ways_out.site import RULES, Site
from benchmarks.ways_out.tries import TRIES
from tests.examples.reading import command_of, flags_of, unit_of


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
