"""TLS of the gate."""

import ssl


def tls_context(certificate: str, key: str | None) -> ssl.SSLContext:
    """The TLS settings of a server with this certificate.

    Raises:
        OSError: a file cannot be read, or does not hold what it should.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
