"""A real sidecar behind the rules: they let all of its requests through, and count nothing else."""

import signal
import socket
from pathlib import Path

import httpx2

from benchmarks.ways_out.machines import Wiring, counters_of, wired
from tests.logger.sidecar.process import config_file, started
from tests.logger.sidecar.scripted_upstream import drawn, scripted_upstream
from tests.network_namespaces import require_network_namespaces
from weightwarden.logger.formats.canonical import decode_record
from weightwarden.logger.store.reader import LogReader


def test_a_sidecar_serves_and_logs_behind_the_rules(tmp_path: Path, model_folder: Path) -> None:
    require_network_namespaces()
    with wired(Wiring.LINK) as machines:
        for name in ("link.nft", "sidecar.nft"):
            machines.load(machines.sidecar, name)
        machines.load(machines.server, "inference.nft")
        site = machines.site
        with machines.server.entered():
            listening = socket.create_server((str(site.inference_address), site.inference_port))
        with scripted_upstream(listening=listening) as upstream, machines.sidecar.entered():
            process = started(config_file(tmp_path, model_folder, upstream.url))
            try:
                answers = [
                    httpx2.post(
                        f"{process.url}/v1/completions",
                        json={"model": "small", "prompt": [5, at], "max_tokens": 300},
                        trust_env=False,
                        timeout=60,
                    )
                    for at in range(3)
                ]
            finally:
                assert process.stop(signal.SIGTERM) == 0
        counters = {name: packets for name, packets in counters_of(machines.sidecar).items() if packets}
    assert [answer.status_code for answer in answers] == [200] * 3, answers[0].text
    logged = [decode_record(entry).output_token_ids for entry in LogReader(process.log).entries(0, len(answers))]
    assert logged == [drawn(body) for body in upstream.asked]
    assert counters.pop("answers") == counters.pop("connection_segments") > 3
    assert counters.pop("requests") > 3
    assert counters.keys() <= {"other_to_inference"}  # IPv6 of the sidecar's own host, which is on here
