"""A network of the test's own: hosts that can be cut off from each other.

Every host is a network namespace with one address, held by a process that sleeps; a bridge in a further one joins them. Nothing
of the machine's own network is touched. A host is cut off from another by telling it a link-layer address for that one that
nobody has: what it sends gets lost, and nobody is told. Between the hosts and the machine only relays go, each a port here and a
port there.

Takes the right to make namespaces; where the machine does not give it, `network` is skipped.
"""

import ctypes
import os
import socket
import subprocess
import threading

from support.proxy import Proxy
from support.server import guarded

CLONE_NEWNET = 0x4000_0000
# The link-layer address that nobody has.
NOBODY = "02:00:00:00:00:fe"

_libc = ctypes.CDLL(None, use_errno=True)


def unavailable() -> str | None:
    """Why there can be no such network here; none if there can."""
    # A user namespace would not do: relays are threads of the tests, which cannot enter one.
    if os.geteuid() != 0:
        return "network namespaces take the rights of root"
    probe = ["unshare", "--net", "ip", "link", "add", "probe", "type", "bridge"]
    try:
        done = subprocess.run(probe, capture_output=True, text=True, timeout=10)
    except OSError as error:
        return f"network namespaces cannot be made: {error}"
    return None if done.returncode == 0 else f"network namespaces cannot be made: {done.stderr.strip()}"


class Namespace:
    """A network namespace that lives as long as its process."""

    def __init__(self):
        command = ["unshare", "--net", "sh", "-c", "echo ready; exec sleep infinity"]
        self._holder = subprocess.Popen(guarded(command), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._holder.stdout.readline() == b"ready\n"

    @property
    def pid(self) -> int:
        return self._holder.pid

    @property
    def wrapper(self) -> list[str]:
        """Runs a command inside."""
        return ["nsenter", f"--net=/proc/{self.pid}/ns/net", "--"]

    def run(self, command: str) -> None:
        done = subprocess.run([*self.wrapper, *command.split()], capture_output=True, text=True)
        assert done.returncode == 0, (command, done.stderr)

    def make(self, socket_of):
        """What `socket_of` makes inside; a socket stays in the namespace it was made in."""
        made = []

        def enter():
            with open(f"/proc/{self.pid}/ns/net") as namespace:
                if _libc.setns(namespace.fileno(), CLONE_NEWNET):
                    made.append(OSError(ctypes.get_errno(), "setns"))
                    return
            try:
                made.append(socket_of())
            except OSError as error:
                made.append(error)

        # A namespace is entered by a thread, which ends in it.
        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        if isinstance(made[0], OSError):
            raise made[0]
        return made[0]

    def close(self) -> None:
        self._holder.kill()
        self._holder.wait(10)
        self._holder.stdout.close()


class Host(Namespace):
    """One host of a network."""

    def __init__(self, network: "Network", number: int):
        super().__init__()
        self.address = f"10.99.0.{number}"
        self.run("ip link set lo up")
        network.switch.run(f"ip link add p{number} type veth peer name eth0 netns {self.pid}")
        network.switch.run(f"ip link set p{number} master switch up")
        self.run(f"ip address add {self.address}/24 dev eth0")
        self.run("ip link set eth0 up")

    def lose(self, other: "Host") -> None:
        """What it sends there gets lost."""
        self.run(f"ip neighbour replace {other.address} lladdr {NOBODY} dev eth0 nud permanent")

    def find(self, other: "Host") -> None:
        self.run(f"ip neighbour delete {other.address} dev eth0")

    def slow_down(self, rate: str) -> None:
        """It sends no more than so much, such as `64kbit` a second."""
        self.run(f"tc qdisc replace dev eth0 root tbf rate {rate} burst 2kb latency 10s")

    def speed_up(self) -> None:
        self.run("tc qdisc delete dev eth0 root")


class Network:
    """Hosts that reach each other until they are cut off."""

    def __init__(self):
        self.switch = Namespace()
        self.switch.run("ip link add switch type bridge")
        self.switch.run("ip link set switch up")
        self.hosts: list[Host] = []
        self._relays: list[Proxy] = []
        self._cut: list[tuple[Host, Host]] = []

    def host(self) -> Host:
        self.hosts.append(Host(self, len(self.hosts) + 1))
        return self.hosts[-1]

    def cut(self, some, others) -> None:
        """Between each of some and each of the others everything gets lost, both ways."""
        for one in some:
            for other in others:
                if one is not other:
                    one.lose(other)
                    other.lose(one)
                    self._cut.append((one, other))

    def heal(self) -> None:
        """All reach each other again."""
        for one, other in self._cut:
            one.find(other)
            other.find(one)
        self._cut.clear()

    def relay(self, listening: Host | None, port: int, connecting: Host | None, target: tuple[str, int]) -> None:
        """Passes on what comes to a port of one host to another place, as seen from another host; none is this machine itself."""
        address = (listening.address if listening else "127.0.0.1", port)
        listener = within(listening, lambda: socket.create_server(address))
        self._relays.append(Proxy(listener=listener, connect=lambda: within(connecting, lambda: connected(target))))

    def close(self) -> None:
        for relay in self._relays:
            relay.close()
        for namespace in [*self.hosts, self.switch]:
            namespace.close()


def within(namespace: Namespace | None, socket_of):
    return namespace.make(socket_of) if namespace else socket_of()


def connected(target: tuple[str, int]) -> socket.socket:
    """A connection; one that is not made soon is none."""
    made = socket.create_connection(target, timeout=10)
    made.settimeout(None)
    return made
