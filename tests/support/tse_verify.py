#!/usr/bin/env python3
"""Stand-alone checker for TSE evidence.

  tse_verify.py export.tar [...]     check every log message of a TR-03151 TAR export
  tse_verify.py --qr 'V0;...'        rebuild and check the FinishTransaction message of a receipt code

Needs only Python 3 and the 'cryptography' package. Checks made per log message: DER structure, OIDs, serial number
equals SHA-256 of the certificate's uncompressed point, signature over the bytes between the outer SEQUENCE header and
the last element, file name agrees with content; per archive: signature counters unique and without holes.
"""
import base64, collections, datetime, hashlib, re, sys, tarfile
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

SIG_OID = "0.4.0.127.0.7.1.1.4.1."
LOG_OID = "0.4.0.127.0.7.3.7.1."
HASH = {"2": hashes.SHA224, "3": hashes.SHA256, "4": hashes.SHA384, "5": hashes.SHA512,
        "8": hashes.SHA3_224, "9": hashes.SHA3_256, "10": hashes.SHA3_384, "11": hashes.SHA3_512}


def tlv(b, o):
    """(tag, value start, value end, next offset); understands the indefinite form used by segmented processData."""
    tag, p = b[o], o + 1
    ln = b[p]; p += 1
    if ln == 0x80:
        q = p
        while b[q:q + 2] != b"\0\0":
            q = tlv(b, q)[3]
        return tag, p, q, q + 2
    if ln & 0x80:
        n = ln & 0x7F
        ln = int.from_bytes(b[p:p + n], "big"); p += n
    if p + ln > len(b):
        raise ValueError("truncated element")
    return tag, p, p + ln, p + ln


def oid(v):
    out, n = [v[0] // 40, v[0] % 40], 0
    for x in v[1:]:
        n = n << 7 | x & 0x7F
        if not x & 0x80:
            out.append(n); n = 0
    return ".".join(map(str, out))


def parse(b):
    tag, p, e, nxt = tlv(b, 0)
    if tag != 0x30 or nxt != len(b):
        raise ValueError("not one SEQUENCE")
    els, o = [], p
    while o < e:
        t, s, f, n = tlv(b, o)
        els.append((t, b[s:f], o, n)); o = n
    m = dict(version=int.from_bytes(els[0][1], "big"), kind=oid(els[1][1]), signature=els[-1][1],
             signed=b[p:els[-1][2]], ctx=collections.OrderedDict())
    i = 2
    while els[i][0] & 0x80:
        t, v = els[i][0], els[i][1]
        if t & 0x20:                                  # constructed: join the OCTET STRING segments
            joined, q = b"", 0
            while q < len(v):
                _, s, f, q = tlv(v, q)
                joined += v[s:f]
            v = joined
        m["ctx"][t & 0x1F] = v; i += 1
    m["serial"] = els[i][1]
    a = els[i + 1]; t, s, f, _ = tlv(a[1], 0)
    m["alg"] = oid(a[1][s:f]); i += 2
    if els[i][0] == 4 and i < len(els) - 1:
        m["audit"] = els[i][1]; i += 1
    m["counter"] = int.from_bytes(els[i][1], "big")
    m["time_tag"], m["time"] = els[i + 1][0], els[i + 1][1]
    if i + 3 != len(els):
        raise ValueError("unexpected element count")
    return m


def plain_ok(key, alg, sig, data):
    h = HASH[alg[len(SIG_OID):]]()
    k = len(sig) // 2
    try:
        key.verify(utils.encode_dss_signature(int.from_bytes(sig[:k], "big"), int.from_bytes(sig[k:], "big")),
                   data, ec.ECDSA(h))
        return True
    except InvalidSignature:
        return False


def point(key):
    return key.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)


def check_tar(path):
    keys, logs, bad = {}, [], collections.Counter()
    with tarfile.open(path) as tf:
        for m in tf:
            if not m.isfile():
                bad["not a regular file"] += 1; continue
            d = tf.extractfile(m).read()
            if m.name.endswith(".log"):
                logs.append((m.name, d))
            elif re.search(r"_X509\.(pem|crt|cer|der)$", m.name, re.I):
                ders = [base64.b64decode(x) for x in
                        re.findall(rb"-----BEGIN CERTIFICATE-----(.*?)-----END", d, re.S)] or [d]
                for der in ders:
                    try:
                        k = x509.load_der_x509_certificate(der).public_key()
                        if isinstance(k, ec.EllipticCurvePublicKey):
                            keys[hashlib.sha256(point(k)).digest()] = k
                    except Exception as ex:
                        bad["certificate not loadable: " + type(ex).__name__] += 1
    seen = collections.Counter()
    for name, d in logs:
        try:
            m = parse(d)
        except Exception as ex:
            bad["parse: %s" % ex] += 1; continue
        key = keys.get(m["serial"])
        if key is None:
            bad["no certificate for serial"] += 1
        elif not plain_ok(key, m["alg"], m["signature"], m["signed"]):
            bad["BAD SIGNATURE"] += 1
        f = re.search(r"_Sig-(\d+)_", name)
        if not f or int(f.group(1)) != m["counter"]:
            bad["file name counter differs"] += 1
        t = re.search(r"_No-(\d+)_", name)
        if t and int(t.group(1)) != int.from_bytes(m["ctx"].get(5, b""), "big"):
            bad["file name transaction number differs"] += 1
        seen[(m["serial"], m["counter"])] += 1
    for s in {s for s, _ in seen}:
        c = sorted(n for x, n in seen if x == s)
        if any(seen[(s, n)] > 1 for n in c):
            bad["duplicate counter"] += 1
        holes = c[-1] - c[0] + 1 - len(c)
        if holes:
            bad["missing counters"] += holes
    print("%s: %d logs, %d keys, %s" % (path, len(logs), len(keys), dict(bad) or "all good"))
    return not bad


def der(tag, v):
    n = len(v)
    ln = bytes([n]) if n < 128 else bytes([0x81, n]) if n < 256 else bytes([0x82, n >> 8, n & 255])
    return bytes([tag]) + ln + v


def integer(n):
    v = n.to_bytes(max(1, (n.bit_length() + 7) // 8), "big")
    return b"\0" + v if v[0] & 0x80 else v


def check_qr(text):
    f = text.split(";")
    pk, sig = base64.b64decode(f[11]), base64.b64decode(f[10])
    n = {"ecdsa-plain-SHA224": 2, "ecdsa-plain-SHA256": 3, "ecdsa-plain-SHA384": 4, "ecdsa-plain-SHA512": 5}[f[8]]
    end = datetime.datetime.fromisoformat(f[7].replace("Z", "+00:00"))
    t = {"unixTime": lambda: der(2, integer(int(end.timestamp()))),
         "utcTime": lambda: der(0x17, end.strftime("%y%m%d%H%M%SZ").encode()),
         "generalizedTime": lambda: der(0x18, end.strftime("%Y%m%d%H%M%SZ").encode())}[f[9]]()
    curves = {65: (ec.SECP256R1, ec.BrainpoolP256R1), 97: (ec.SECP384R1, ec.BrainpoolP384R1),
              129: (ec.BrainpoolP512R1,), 133: (ec.SECP521R1,)}[len(pk)]
    body = (der(2, b"\2") + der(6, bytes.fromhex("04007f000703070101")) + der(0x80, b"FinishTransaction") +
            der(0x81, f[1].encode()) + der(0x82, f[3].encode()) + der(0x83, f[2].encode()) +
            der(0x85, integer(int(f[4]))) + der(4, hashlib.sha256(pk).digest()) +
            der(0x30, der(6, bytes.fromhex("04007f000701010401") + bytes([n]))) + der(2, integer(int(f[5]))) + t)
    for c in curves:
        try:
            key = ec.EllipticCurvePublicKey.from_encoded_point(c(), pk)
        except ValueError:
            continue
        ok = plain_ok(key, SIG_OID + str(n), sig, body)
        print("curve", c.__name__, "signature", "good" if ok else "BAD")
        return ok
    print("point is on no known curve")
    return False


if __name__ == "__main__":
    a = sys.argv[1:]
    if len(a) == 2 and a[0] == "--qr":
        sys.exit(0 if check_qr(a[1]) else 1)
    if not a:
        sys.exit(__doc__)
    sys.exit(0 if all([check_tar(p) for p in a]) else 1)
