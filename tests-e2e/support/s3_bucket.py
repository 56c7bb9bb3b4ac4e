"""Makes the bucket of the tests and waits until the tests' user can write to it (an open port says little)."""

import os
import sys
import time

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

TIMEOUT_S = 120


def client(key: str):
    return boto3.client(
        "s3",
        endpoint_url=os.environ["REDKITE_TEST_S3_ENDPOINT"],
        aws_access_key_id=key,
        aws_secret_access_key=key,
        region_name="us-east-1",
        config=Config(retries={"total_max_attempts": 1}, connect_timeout=5, read_timeout=10),
    )


def main() -> None:
    bucket = os.environ["REDKITE_TEST_S3_BUCKET"]
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            admin = client(os.environ["S3_ADMIN"])
            if bucket not in [known["Name"] for known in admin.list_buckets()["Buckets"]]:
                admin.create_bucket(Bucket=bucket)
            user = client(os.environ["REDKITE_TEST_S3_ACCESS_KEY"])
            user.put_object(Bucket=bucket, Key="ready", Body=b"yes")
            user.delete_object(Bucket=bucket, Key="ready")
            return
        except (BotoCoreError, ClientError) as error:
            if time.monotonic() > deadline:
                sys.exit(f"the S3 server is not ready after {TIMEOUT_S} s: {error}")
            time.sleep(0.2)


main()
