"""Settings of the small attacks of these tests."""

from benchmarks.attackers.__main__ import Setting

SETTING = Setting(records=8, calibration=0, tokens=16, seed=5)
KEY = b"a key of encoder and decoder"
