"""`python -m cli.sidecar`."""

from cli.sidecar.main import sidecar

if __name__ == "__main__":
    sidecar(prog_name="sidecar")
