"""Why a DAO cannot be read. No retry helps: another address, or a version that knows this form.

DaoError
├── UnknownDao        neither of the contracts that are read
├── UnknownCounting   votes are counted in a way that is not known
└── UnknownClock      time is counted in a way that is not known
"""


class DaoError(Exception):
    """The contract at `address` cannot be read exactly, so it is not read at all."""

    retryable = False

    def __init__(self, address: str, detail: str) -> None:
        super().__init__(address, detail)
        self.address = address
        self.detail = detail


class UnknownDao(DaoError):
    """It is neither ReputationDao nor an OpenZeppelin Governor nor a Governor Bravo."""

    def __str__(self) -> str:
        return (
            f"{self.address} is no DAO that can be read: {self.detail}; known are ReputationDao, "
            "OpenZeppelin Governor and Governor Bravo"
        )


class UnknownCounting(DaoError):
    """Its COUNTING_MODE, in `detail`, is none that is known."""

    def __str__(self) -> str:
        return (
            f"the DAO {self.address} has COUNTING_MODE {self.detail!r}; known are simple, fractional and "
            "overridable counting of votes against, for and abstain"
        )


class UnknownClock(DaoError):
    """Its CLOCK_MODE, in `detail`, is none that is known."""

    def __str__(self) -> str:
        return (
            f"the DAO {self.address} has CLOCK_MODE {self.detail!r}; known are "
            "'mode=blocknumber&from=default' and 'mode=timestamp'"
        )
