"""A local chain: eth-tester and py-evm behind JSON-RPC over HTTP and WebSocket.

`ChainServer` serves one for as long as a context is open, `serve` until a signal; `LocalChain` is the chain
itself. `running_chain` serves one from a thread, `hardhat_free_chain.plugin` has fixtures for pytest,
`hardhat_free_chain.faults` the rules by which its addresses misbehave.
"""

from hardhat_free_chain.accounts import deterministic_accounts
from hardhat_free_chain.chain import LocalChain
from hardhat_free_chain.endpoint import Endpoint
from hardhat_free_chain.errors import ListenError, RpcError
from hardhat_free_chain.reorganisation import Fate, Reorganisation
from hardhat_free_chain.running import RunningChain, running_chain
from hardhat_free_chain.server import ChainServer, serve
from hardhat_free_chain.settings import ChainSettings, SettingsError

__all__ = [
    "ChainServer",
    "ChainSettings",
    "Endpoint",
    "Fate",
    "ListenError",
    "LocalChain",
    "Reorganisation",
    "RpcError",
    "RunningChain",
    "SettingsError",
    "deterministic_accounts",
    "running_chain",
    "serve",
]
