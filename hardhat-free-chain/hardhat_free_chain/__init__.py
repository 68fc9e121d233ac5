"""A local chain: eth-tester and py-evm behind JSON-RPC over HTTP and WebSocket.

`ChainServer` serves one for as long as a context is open, `serve` until a signal; `LocalChain` is the chain
itself. `hardhat_free_chain.faults` has the rules by which its addresses misbehave.
"""

from hardhat_free_chain.accounts import deterministic_accounts
from hardhat_free_chain.chain import LocalChain
from hardhat_free_chain.endpoint import Endpoint
from hardhat_free_chain.errors import ListenError, RpcError
from hardhat_free_chain.reorganisation import Fate, Reorganisation
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
    "SettingsError",
    "deterministic_accounts",
    "serve",
]
