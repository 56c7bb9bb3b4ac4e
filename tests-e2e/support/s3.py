"""The S3 server of this test run."""

import os
import uuid


def s3_of_this_run() -> dict[str, str]:
    """Where it is, and who may use it."""
    names = ("ENDPOINT", "BUCKET", "ACCESS_KEY", "SECRET_KEY")
    values = {name: os.environ.get(f"REDKITE_TEST_S3_{name}") for name in names}
    assert all(values.values()), "REDKITE_TEST_S3_* is not set; run `cargo xtask test --only e2e`"
    return values


def on_s3(s3: dict, endpoint: str | None = None) -> dict:
    """Options for `new_server`: its files lie there, under a prefix of their own."""
    return {
        "settings": {
            "storage.url": f"s3://{s3['BUCKET']}/{uuid.uuid4().hex}",
            "storage.endpoint": endpoint or s3["ENDPOINT"],
        },
        "env": {
            "AWS_ACCESS_KEY_ID": s3["ACCESS_KEY"],
            "AWS_SECRET_ACCESS_KEY": s3["SECRET_KEY"],
            "AWS_REGION": "us-east-1",
        },
    }
