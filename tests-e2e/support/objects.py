"""The objects on S3, read by a client that is not the server's: the AWS SDK in pyarrow."""

import pyarrow.fs
import pyarrow.ipc


class Objects:
    """What lies below the `storage.url` of `on_s3`. Paths are relative to it."""

    def __init__(self, s3: dict, storage: dict):
        self._root = storage["settings"]["storage.url"].removeprefix("s3://")
        scheme, _, address = s3["ENDPOINT"].partition("://")
        self._files = pyarrow.fs.S3FileSystem(
            access_key=s3["ACCESS_KEY"], secret_key=s3["SECRET_KEY"], endpoint_override=address, scheme=scheme,
            region="us-east-1",
        )

    def sizes(self) -> dict[str, int]:
        """All objects: path to size in bytes."""
        found = self._files.get_file_info(pyarrow.fs.FileSelector(self._root, recursive=True))
        return {file.path.removeprefix(f"{self._root}/"): file.size for file in found if file.is_file}

    def read(self, path: str) -> bytes:
        with self._files.open_input_stream(f"{self._root}/{path}") as stream:
            return stream.readall()

    def table(self, path: str) -> pyarrow.Table:
        """An object that is an Arrow file."""
        return pyarrow.ipc.open_file(pyarrow.BufferReader(self.read(path))).read_all()
