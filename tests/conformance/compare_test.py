"""tests/conformance/compare itself: it must tell equal from different, explained from unexplained, and not trust pairs by chance."""

import json
import pathlib
import subprocess
import sys
import tempfile

COMPARE = pathlib.Path(__file__).with_name("compare")


def line(message, direction="client_to_server", channel=2, **fields):
    return {"ms": 1.0, "session": 1, "channel": channel, "direction": direction, "message": message, "bytes": 28, "fields": fields}


def conversation(status=0, handle=7, request=0, silent=False, data="1203"):
    """Two channels; one select, one read of two bytes, one read on the pipe that the select gave."""
    def ask(request_id, size, **urb):
        return line("TRANSFER_IN_REQUEST", "server_to_client", InterfaceId=4, Mask="PROXY", MessageId=0, FunctionId=261, CbTsUrb=16,
                    TsUrb={"Size": 16, "URB_Function": 9, "RequestId": request_id, "NoAck": 0, **urb}, OutputBufferSize=size)

    def end(request_id, message="URB_COMPLETION", **more):
        return {**line(message, InterfaceId=0, Mask="PROXY", MessageId=0, FunctionId=257, RequestId=request_id, CbTsUrbResult=8, HResult=0,
                       **more), "detail": "BULK (0x0009): success"}

    lines = [{"ms": 0.0, "session": 1, "channel": channel, "event": "opened", "by": "server"} for channel in (1, 2)]
    lines.append(line("ADD_DEVICE", UsbDevice=4, DeviceInstanceId={"cch": 2, "text": "x"}))
    lines.append(ask(request, 0))
    lines.append(end(request, "URB_COMPLETION_NO_DATA", OutputBufferSize=0,
                     TsUrbResult={"Size": 8, "Padding": 9, "UsbdStatus": 0, "ConfigurationHandle": handle + 1,
                                  "Interface": [{"Pipes": [{"PipeHandle": handle, "EndpointAddress": 0x81}]}]}))
    lines.append(ask(request + 1, 2, PipeHandle=handle))
    if not silent:
        lines.append(end(request + 1, OutputBufferSize=2, OutputBuffer=data,
                         TsUrbResult={"Size": 8, "Padding": 9, "UsbdStatus": status}))
    return lines


def compare(stock, ours, known=""):
    with tempfile.TemporaryDirectory(prefix="tillbridge-compare-") as directory:
        paths = []
        for name, lines in (("stock", stock), ("ours", ours)):
            paths.append(pathlib.Path(directory, name))
            paths[-1].write_text("".join(json.dumps(each) + "\n" for each in lines))
        table = pathlib.Path(directory, "known.tsv")
        table.write_text(known)
        return subprocess.run([COMPARE, "--stock", paths[0], "--ours", paths[1], "--known", table], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def check(result, code, *texts):
    assert result.returncode == code, f"exit {result.returncode}, not {code}\n{result.stdout}{result.stderr}"
    for text in texts:
        assert text in result.stdout + result.stderr, f"no '{text}' in\n{result.stdout}{result.stderr}"


def main():
    base = conversation()
    # What names things by itself is no difference: other handles, other RequestIds.
    check(compare(base, conversation(handle=99, request=40)), 0, "unexplained: 0", "endpoint 0x81")
    stall = conversation(status=4)
    check(compare(stall, base), 1, "TsUrbResult.UsbdStatus", "0x00000004", "unexplained difference")
    explained = "device: TRANSFER_IN_REQUEST *\tTsUrbResult.UsbdStatus\t0x00000004\t0x00000000\tours\tlibusb's number\n"
    check(compare(stall, base, explained), 0, "explained difference: 1", "libusb's number", "[1]")
    # An explanation is for those values only.
    check(compare(conversation(status=5), base, explained), 1, "0x00000005")
    check(compare(base, conversation(data="1204")), 1, "OutputBuffer")
    check(compare(conversation(silent=True), base), 1, "(no answer)")
    check(compare(base[:-2], base), 1, "(never asked)")
    # Nothing in common, and data that was not written down.
    check(compare([], base), 1)
    hidden = [*base[:-1], {**base[-1], "fields": {**base[-1]["fields"], "OutputBuffer": {"bytes": 2, "digest": "00"}}}]
    check(compare(hidden, hidden), 1, "--transcript-data")
    check(compare(base, base, "one column\n"), 1, "expected 6 columns")
    print("passed")


if __name__ == "__main__":
    sys.exit(main())
