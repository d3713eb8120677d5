"""The ways that are tried, by layer."""

from benchmarks.ways_out.attacker import Try
from benchmarks.ways_out.tries.ethernet import ETHERNET
from benchmarks.ways_out.tries.internet import INTERNET
from benchmarks.ways_out.tries.ipv6 import IPV6
from benchmarks.ways_out.tries.sockets import SOCKETS
from benchmarks.ways_out.tries.tcp import TCP

TRIES: tuple[Try, ...] = (*SOCKETS, *TCP, *INTERNET, *IPV6, *ETHERNET)
