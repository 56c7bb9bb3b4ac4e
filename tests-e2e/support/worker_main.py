"""The inside of a worker process; see `worker`."""

from pymilvus import MilvusClient

from support.worker import describe


class Context:
    """What a function that runs in a worker gets."""

    def __init__(self, client: MilvusClient, connection):
        self.client = client
        self._connection = connection
        self._stopped = False

    def stopping(self) -> bool:
        """Whether the test asked this function to end."""
        if not self._stopped and self._connection.poll(0):
            # Only "stop" is ever sent while a function runs.
            self._connection.recv()
            self._stopped = True
        return self._stopped

    def wait_for_stop(self) -> None:
        """For functions that end by themselves: takes in the "stop" that is still to come."""
        if not self._stopped:
            self._connection.recv()
            self._stopped = True


def main(connection, uri: str, client_options: dict) -> None:
    """Serves calls until the test hangs up."""
    client = None
    while True:
        try:
            message = connection.recv()
        except (EOFError, OSError):
            break
        if message == "stop":
            continue
        function, args, kwargs = message
        try:
            client = client or MilvusClient(uri, **client_options)
            if callable(function):
                value = function(Context(client, connection), *args, **kwargs)
            else:
                value = plain(getattr(client, function)(*args, **kwargs))
            answer = ("ok", value)
        except Exception as error:
            answer = ("error", describe(error))
        connection.send(answer)
    if client is not None:
        client.close()


def plain(value):
    """pymilvus's result types as lists and dictionaries."""
    if isinstance(value, dict) or hasattr(value, "items"):
        return {key: plain(value[key]) for key in value.keys()}
    if isinstance(value, (str, bytes, int, float)) or value is None:
        return value
    if hasattr(value, "__iter__"):
        return [plain(item) for item in value]
    return str(value)
