"""Serve a GGUF file with llama.cpp's own HTTP server (package xllamacpp), until standard input ends.

Runs in a separate environment and needs nothing of this project; prints the server's URL.

    .venv-llama/bin/python benchmarks/recording/llama_cpp_server.py MODEL.gguf THREADS
"""

import sys

import xllamacpp  # type: ignore[import-not-found, unused-ignore]


def main(model: str, threads: int) -> None:
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.n_ctx = 2048
    params.n_parallel = 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
