"""Alibaba Cloud OSS on loopback: buckets and objects. The official SDK works with it unchanged; triggers use
the store without HTTP.
"""

from mpaas_local.oss.errors import CODES, OssError
from mpaas_local.oss.model import Bucket, Listing, ObjectEvent, Part, StoredObject, Upload
from mpaas_local.oss.server import OssServer
from mpaas_local.oss.store import OssStore

__all__ = [
    "CODES",
    "Bucket",
    "Listing",
    "ObjectEvent",
    "OssError",
    "OssServer",
    "OssStore",
    "Part",
    "StoredObject",
    "Upload",
]
