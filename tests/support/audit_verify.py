#!/usr/bin/env python3
"""Checks an audit log's folder or an exported file, by server/audit/FORMAT.md alone: no line in common with tillbridge.

audit_verify.py FOLDER_OR_FILE PUBLIC_KEY: prints what is wrong, one finding a line; exit code 1 if there is any.
"""
import hashlib
import json
import os
import re
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import load_pem_public_key

MEMBERS = ["n", "time", "kind", "who", "stick", "till", "reason", "details", "salt", "prev"]
findings = []


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def chain(prev, digest):
    return sha256((prev + digest).encode())


def plain(value):
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def read_entry(line):
    """The entry of a line and its digest; None if it is not written as an entry must be."""
    try:
        text = line.decode()
        entry = json.loads(text)
        if list(entry) != MEMBERS or list(entry["details"]) != sorted(entry["details"]) or plain(entry) != text:
            return None
    except (ValueError, TypeError, AttributeError):
        return None
    return entry, sha256(re.sub(r',"prev":"[0-9a-f]{64}"}$', "}", text).encode())


def signed(key, signature, *lines):
    try:
        key.verify(bytes.fromhex(signature), "".join(f"{line}\n" for line in lines).encode())
        return True
    except (InvalidSignature, ValueError):
        return False


def check_folder(folder, key):
    older = sorted(n for n in os.listdir(folder) if re.fullmatch(r"audit-\d{12,}\.jsonl", n))
    head = json.load(open(os.path.join(folder, "head.json")))
    if not signed(key, head["signature"], "tillbridge audit head 1", head["n"], head["hash"], head["time"]):
        findings.append("head.json: wrong signature")
    n, hash_, met = 0, "0" * 64, head["n"] == 0
    begin = read_entry(open(os.path.join(folder, (older + ["audit.jsonl"])[0]), "rb").readline().rstrip(b"\n"))
    if begin and begin[0]["kind"] == "log_damaged":  # it goes on behind what was put aside
        n, hash_ = begin[0]["n"] - 1, begin[0]["prev"]
        if not os.path.isdir(os.path.join(folder, begin[0]["details"]["file"])):
            findings.append(f"{begin[0]['details']['file']} is not here")
    for name in older + ["audit.jsonl"]:
        for line in open(os.path.join(folder, name), "rb").read().split(b"\n")[:-1]:
            n += 1
            found = read_entry(line)
            if found is None or found[0]["n"] != n or found[0]["prev"] != hash_:
                findings.append(f"{name}: entry {n} does not fit")
                return
            hash_ = chain(hash_, found[1])
            met = met or (n, hash_) == (head["n"], head["hash"])
    if not met:
        findings.append("the log does not lead to its signed head")


def check_export(path, key):
    content = open(path, "rb").read()
    lines = [line for line in content.split(b"\n")[:-1] if not line.startswith(b"#")]
    start, end = json.loads(lines[0]), json.loads(lines[-1])
    n, hash_ = start["first"] - 1, start["before"]
    for line in lines[1:-1]:
        data = json.loads(line)
        if "left_out" in data:
            digests = data["digests"]
            fits = data["left_out"] == n + 1
        else:
            found = read_entry(line)
            digests = [found[1]] if found else []
            fits = bool(found) and found[0]["n"] == n + 1 and found[0]["prev"] == hash_
        if not fits:
            findings.append(f"entry {n + 1} does not fit")
        n += len(digests)
        for digest in digests:
            hash_ = chain(hash_, digest)
    if start["first"] and (n, hash_) != (end["end"], end["hash"]):
        findings.append("the chain does not lead to the signed end")
    if not signed(key, end["head_signature"], "tillbridge audit head 1", end["end"], end["hash"], end["time"]):
        findings.append("wrong signature of the end")
    if sha256(content[: content.rindex(lines[-1])]) != end["file"] or not signed(
        key, end["file_signature"], "tillbridge audit export 1", end["file"], end["end"], end["hash"], end["time"]
    ):
        findings.append("wrong signature of the file")


def main():
    target, key_file = sys.argv[1:]
    key = load_pem_public_key(open(key_file, "rb").read())
    (check_folder if os.path.isdir(target) else check_export)(target, key)
    print("\n".join(findings) or "whole")
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
