"""The accounts and the bandwidth ledger of a series as they are now."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from sqlalchemy import Connection, select

from weightwarden.verifier.scoring.codes import CodeName
from weightwarden.verifier.server.accounting.accounts import Accounts
from weightwarden.verifier.server.accounting.bounds import Exposure, exposure_of
from weightwarden.verifier.server.accounting.traffic_estimate import TrafficSeen, traffic_seen
from weightwarden.verifier.server.database.schema import SERIES
from weightwarden.verifier.server.settings import Settings
from weightwarden.verifier.statistics.conclusiveness import CONCLUSIVE_SHARE


@lru_cache(maxsize=4)
def parsed_accounts(data: bytes) -> Accounts:
    """Accounts from their stored form; shared, so that no caller may change them."""
    return Accounts.from_bytes(data)


def current_accounts(connection: Connection) -> Accounts:
    """The accounts now; shared, so that no caller may change them."""
    return parsed_accounts(connection.execute(select(SERIES.c.accounts)).scalar_one())


@dataclass(frozen=True, kw_only=True)
class ExposureReader:
    """Reader of a series' bandwidth ledger.

    Attributes:
        length_limit: largest number of tokens of an answer.
        leading: the code whose bound counts.
        exact: whether the policy is that of an exact replay.
    """

    settings: Settings
    vocabulary: int
    length_limit: int
    leading: CodeName
    exact: bool

    @property
    def wanted(self) -> float:
        """Largest conclusive limit, bits per token."""
        return CONCLUSIVE_SHARE * float(np.log2(self.vocabulary))

    def read(self, connection: Connection, now: float) -> Exposure:
        """The ledger now."""
        return self.of(current_accounts(connection), traffic_seen(connection, now))

    def of(self, accounts: Accounts, traffic: TrafficSeen) -> Exposure:
        """The ledger of some accounts and traffic."""
        return exposure_of(
            accounts, traffic, self.settings, self.vocabulary, self.length_limit, leading=self.leading, exact=self.exact
        )

    def conclusive(self, connection: Connection, now: float) -> bool:
        """True if the audit is conclusive now."""
        return self.read(connection, now).conclusiveness.conclusive
