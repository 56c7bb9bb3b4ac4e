"""What workers do while a test does something to the server. Each function runs in a worker's process."""

import grpc
from pymilvus import MilvusException

from support import data
from support.wait import pause


def swap_groups(
    context, names: list[str], size: int, first: int = 1, blocks: int | None = None, report: str | None = None
) -> int:
    """Block after block: inserts `size` rows of the next group into every collection and deletes the group before.

    Returns the last group whose flush was acknowledged, and appends each to the file `report`. Keys are `group * size + n`.
    """
    group = first - 1
    while not context.stopping() and (blocks is None or group < first - 1 + blocks):
        coming = group + 1
        for name in names:
            context.client.insert(name, data.rows(range(coming * size, (coming + 1) * size), grp=coming))
            context.client.delete(name, filter=f"grp == {coming - 1}")
        # Any flush takes the whole block, whatever collection it names.
        context.client.flush(names[0])
        group = coming
        if report is not None:
            with open(report, "a") as acknowledged:
                acknowledged.write(f"{group}\n")
    return group


def read(context, name: str) -> list | None:
    """All rows with their groups; none if the server is away."""
    try:
        # A short deadline ends pymilvus's own retries while the server is away.
        return context.client.query(name, filter="id >= 0", output_fields=["grp"], limit=16_000, timeout=2)
    except MilvusException as error:
        # What the server itself answers is no outage.
        if error.code in (0, 1, 2, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            pause(0.05)
            return None
        raise


def watch_groups(context, names: list[str], size: int) -> int:
    """Queries while `swap_groups` runs and checks that every query sees exactly one whole group, and that a collection
    queried later never shows an older block. Returns how many rounds it made."""
    rounds = 0
    newest = 0
    while not context.stopping():
        order = names if rounds % 2 == 0 else names[::-1]
        for name in order:
            found = read(context, name)
            if found is None:
                continue
            groups = {row["grp"] for row in found}
            assert len(found) == size and len(groups) == 1, f"{name}: {len(found)} rows of groups {groups}"
            assert groups.pop() >= newest, f"{name} shows an older block than an earlier query"
            newest = found[0]["grp"]
        rounds += 1
    return rounds


def insert_until_it_fails(context, name: str, size: int, report: str, first: int = 0) -> None:
    """Inserts and flushes blocks of `size` rows; appends each acknowledged block's number to the file `report`, and the
    number of the block under way to `<report>.tried` before its flush."""
    block = first
    with open(report, "a", buffering=1) as acknowledged, open(f"{report}.tried", "a", buffering=1) as tried:
        while not context.stopping():
            context.client.insert(name, data.rows(range(block * size, (block + 1) * size), grp=block), timeout=10)
            tried.write(f"{block}\n")
            context.client.flush(name, timeout=10)
            acknowledged.write(f"{block}\n")
            block += 1


def watch_whole_blocks(context, name: str, size: int) -> int:
    """Checks during inserts that every block is seen wholly or not at all; a server that is away is none of its business."""
    rounds = 0
    while not context.stopping():
        found = read(context, name)
        if found is None:
            continue
        seen = {}
        for row in found:
            seen[row["grp"]] = seen.get(row["grp"], 0) + 1
        torn = {group: rows for group, rows in seen.items() if rows != size}
        assert not torn, f"blocks seen in part: {torn}"
        rounds += 1
    return rounds
