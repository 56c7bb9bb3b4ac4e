"""What the tests stand on: the real server as a process, clients in processes of their own, a network that fails."""
