"""LLaMA-Factory's own API server as a process on localhost, serving a model folder."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STARTS_WITHIN_S = 120.0
_ENDS_AFTER_S = 600


@contextmanager
def llama_factory_server(model: str, *, template: str, key: str, log: Path) -> Iterator[str]:
    """Serve a model until the block ends; gives the URL, up to and including the version.

    Args:
        model: a checkpoint folder.
        template: LLaMA-Factory's name of the chat template.
        key: what every request must bring.
        log: where the server's output goes.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "API_HOST": "127.0.0.1",
        "API_PORT": str(port),
        "API_KEY": key,
        "API_MODEL_NAME": "tiny",
        "FASTAPI_ROOT_PATH": "",
        "HF_HUB_OFFLINE": "1",
        "DISABLE_VERSION_CHECK": "1",
        "OMP_NUM_THREADS": "1",
    }
    arguments = [model, template]
    with open(log, "wb") as f:
        process = subprocess.Popen(
            [sys.executable, __file__, *arguments],
            env=environment,
            stdout=f,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        url = f"http://127.0.0.1:{port}/v1"
        try:
            _wait_for(f"{url}/models", process, key=key, log=log)
            yield url
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _wait_for(url: str, process: subprocess.Popen[bytes], *, key: str, log: Path) -> None:
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    # A proxy from the environment would stand between.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    ends = time.monotonic() + _STARTS_WITHIN_S
    while time.monotonic() < ends:
        if process.poll() is not None:
            break
        try:
            with opener.open(request, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.3)
    raise AssertionError(f"the server did not start:\n{log.read_text(errors='replace')[-3000:]}")


def serve(model: str, template: str) -> None:
    """Run the server in this process; does not return.

    The process ends itself after a while, in case the one that started it was killed.
    """
    signal.alarm(_ENDS_AFTER_S)

    from hlmat.pipelines.training.llamafactory_main import make_importable

    make_importable()
    settings = {
        "model_name_or_path": model,
        "template": template,
        "infer_backend": "huggingface",
        "infer_dtype": "float32",
    }
    sys.argv = ["llamafactory-cli", *(p for k, v in settings.items() for p in (f"--{k}", v))]
    from llamafactory.api.app import run_api

    run_api()


if __name__ == "__main__":
    serve(*sys.argv[1:])
