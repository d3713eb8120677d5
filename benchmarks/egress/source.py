"""The fast inference server of `benchmarks.sidecar` on a given address.

python -m benchmarks.egress.source ADDRESS PORT
"""

import asyncio
import sys

from benchmarks.sidecar.token_source import Source


async def main(address: str, port: int) -> None:
    server = await asyncio.start_server(Source().serve, address, port)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
