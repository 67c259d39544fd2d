"""Make the bucket of the archive, with Object Lock; run once, before the agent, by compose.yml.

A bucket that is there already is left as it is, but for one without Object Lock, which is an error:
it cannot be added later to most servers.
"""

import os
import sys
from pathlib import Path

import boto3
from botocore.exceptions import ClientError

THERE = ("BucketAlreadyOwnedByYou", "BucketAlreadyExists")


def main() -> int:
    endpoint, name = os.environ["S3_ENDPOINT"], os.environ["S3_BUCKET"]
    s3 = boto3.client(
        "s3",
        endpoint_url=endpoint,
        region_name="us-east-1",
        aws_access_key_id=os.environ["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=Path(os.environ["AWS_SECRET_ACCESS_KEY_FILE"]).read_text().strip(),
    )
    try:
        s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    except ClientError as error:
        if error.response["Error"]["Code"] not in THERE:
            raise
    try:
        s3.get_object_lock_configuration(Bucket=name)
    except ClientError as error:
        print(
            f"{endpoint}/{name} has no Object Lock ({error}); name another bucket", file=sys.stderr
        )
        return 1
    print(f"{endpoint}/{name} is there, with Object Lock")
    return 0


if __name__ == "__main__":
    sys.exit(main())
