"""`python -m mpaas_local.upload FILE BUCKET/KEY`: upload a file to the OSS of the running stack."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

import alibabacloud_oss_v2 as oss
from alibabacloud_oss_v2.exceptions import OperationError, ServiceError

from mpaas_local.account import Account
from mpaas_local.oss_client import oss_client
from mpaas_local.ports import Ports


def main() -> int:
    """Upload the file; returns 0, 1 if it was refused, or 2 without a file or a running stack."""
    parser = argparse.ArgumentParser(prog="python -m mpaas_local.upload", description=__doc__)
    parser.add_argument("file", metavar="FILE", type=Path)
    parser.add_argument("target", metavar="BUCKET/KEY", help="such as uploads/dev/statements/2026-11.pdf")
    parser.add_argument("--meta", metavar="NAME=VALUE", action="append", default=[], help="user metadata")
    endpoint = os.environ.get("PUSH_OSS_ENDPOINT") or f"http://127.0.0.1:{Ports.oss}"
    parser.add_argument(
        "--oss",
        default=endpoint,
        help="URL of the stack's OSS; by default PUSH_OSS_ENDPOINT, else port 8085",
    )
    parser.add_argument("--region", default=Account.region, help="region of s.yaml")
    options = parser.parse_args()
    bucket, _, key = options.target.partition("/")
    if not bucket or not key:
        parser.error(f"argument BUCKET/KEY: {options.target!r} names no object")
    pairs = [pair.partition("=") for pair in options.meta]
    if not all(name and equals for name, equals, _ in pairs):
        parser.error("argument --meta: must be NAME=VALUE")
    request = oss.PutObjectRequest(bucket=bucket, key=key, metadata={name: value for name, _, value in pairs})
    try:
        result = oss_client(options.oss, options.region).put_object_from_file(request, str(options.file))
    except OSError as error:
        print(f"{options.file} cannot be read: {error.strerror}", file=sys.stderr)
        return 2
    except OperationError as error:
        refusal = error.unwrap()
        if isinstance(refusal, ServiceError):
            print(f"{refusal.code}: {refusal.message}", file=sys.stderr)
            return 1
        print(f"no response from {options.oss}: is `make run` running?", file=sys.stderr)
        return 2
    print(f"{bucket}/{key}: ETag {result.etag}, request {result.request_id}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
