"""A function of the project, called once with the event in a file; its folder is on the path."""

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import index  # type: ignore[import-not-found]  # the function, as deployed

context = SimpleNamespace(request_id="1-0", function=SimpleNamespace(timeout="60"))
result = index.handler(Path(sys.argv[1]).read_bytes(), context)
os._exit("accepted" not in result)  # the time of a regular exit is not measured
