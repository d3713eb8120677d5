"""Entry point of `python -m weightwarden.cli.sidecar`."""

from weightwarden.cli.sidecar.main import sidecar

if __name__ == "__main__":
    sidecar(prog_name="sidecar")
