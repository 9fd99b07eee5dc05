"""What a worker process prints, and what it leaves to its job to say."""

from __future__ import annotations

import io
import threading

import grpc
import pytest

from hlmat.pipelines.run import local_worker


def raise_in_thread(error: BaseException) -> None:
    def work() -> None:
        raise error

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def test_a_connection_that_the_job_broke_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(threading, "excepthook", local_worker._pass_over_broken_connections)
    raise_in_thread(grpc.RpcError("Socket closed"))
    assert capsys.readouterr().err == ""
    raise_in_thread(ValueError("of a step"))
    assert capsys.readouterr().err.endswith("ValueError: of a step\n")


def test_reports_of_the_harness_are_left_out_and_all_else_is_printed() -> None:
    shown = io.StringIO()
    stream = local_worker._WithoutReports(shown)
    for text in (
        "Logging client failed: <_MultiThreadedRendezvous\n...>... resetting",
        'File "apache_beam/runners/worker/sdk_worker.py", line 1',
        "of a tool",
        "Logging client failed says a tool",
    ):
        print(text, file=stream)
    assert shown.getvalue() == "of a tool\nLogging client failed says a tool\n"
