"""Every answer that is not a result, as one tree; and the one error that is no answer.

    ListenError                  the server cannot start: the operator must choose another port
    RpcError                     code, message, data: what the client is sent
      ParseError      -32700     the body is no JSON
      InvalidRequest  -32600     the JSON is no request
      MethodNotFound  -32601
      InvalidParams   -32602     the client must change its arguments
      LimitExceeded   -32005     the client must ask for less
      NotFound        -32000     no such block or snapshot here
      TransactionRejected -32000 the pool refuses; texts are go-ethereum's, because clients match them
      ExecutionFailed -32000     the EVM stopped other than by revert
        ExecutionReverted 3      revert; data carries the return bytes
      ScriptedError   any        what a fault answers: code, data and HTTP status of the node it plays

Imports nothing of the chain.
"""


class RpcError(Exception):
    """An error answer of JSON-RPC; `status` is that of the HTTP answer that carries it alone."""

    code: int = -32603
    status: int = 200

    def __init__(self, message: str, data: object = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data

    def as_json(self) -> dict[str, object]:
        """The `error` member of a JSON-RPC answer."""
        body: dict[str, object] = {"code": self.code, "message": self.message}
        if self.data is not None:
            body["data"] = self.data
        return body


class ListenError(Exception):
    """The server cannot listen where it was told to."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(host, port, reason)
        self.host = host
        self.port = port
        self.reason = reason

    def __str__(self) -> str:
        return f"cannot listen on {self.host}:{self.port}: {self.reason}; choose another address or port"


class ParseError(RpcError):
    """The body is not JSON."""

    code = -32700


class InvalidRequest(RpcError):
    """The JSON is not a JSON-RPC 2.0 request, or the batch is empty or too large."""

    code = -32600


class MethodNotFound(RpcError):
    """No such method."""

    code = -32601


class InvalidParams(RpcError):
    """An argument is missing, superfluous or malformed."""

    code = -32602


class LimitExceeded(RpcError):
    """More was asked for than this chain is set to serve."""

    code = -32005


class NotFound(RpcError):
    """The block or snapshot that was named does not exist."""

    code = -32000


class TransactionRejected(RpcError):
    """The transaction does not enter the pool."""

    code = -32000


class ExecutionFailed(RpcError):
    """A call or an estimate ended in an EVM error."""

    code = -32000


class ExecutionReverted(ExecutionFailed):
    """A call or an estimate reverted; `data` is what the contract returned, as hex."""

    code = 3


class ScriptedError(RpcError):
    """A fault's answer, in the words of the node or provider that it plays."""

    def __init__(self, code: int, message: str, data: object = None, *, status: int = 200) -> None:
        super().__init__(message, data)
        self.code = code
        self.status = status
