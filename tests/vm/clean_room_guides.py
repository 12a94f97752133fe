"""The guides' commands on the clean room's machines, behind the quick start: what is typed is what the documents have, and what it has to bring about is
looked at from where it matters. Names that the examples use and the quick start does not are made here first.
"""

import base64
import re

import guides

PATIENCE_S = 120  # a till is back within seconds; emulation takes its part


def sticks_of_users(shop, tse):
    """docs/linux-terminal-server.md: a stick that one user of the machine may use, and nobody else."""
    guide, terminal = "linux-terminal-server.md", shop.machines["terminal-server"]
    terminal.run("useradd --create-home kasse-01")
    owner, mount = shop.blocks(guide, "One stick, many users of the machine")
    shop.type(guide, owner)
    assert terminal.run(f"stat --dereference --format %U:%a {tse}").strip() == "kasse-01:600", terminal.run("ls -l /dev/sd*")
    status = shop.type(guide, mount)
    assert re.search(r"^clients +kasse-01$", status, re.M), status
    terminal.run("install --owner=kasse-01 --mode=600 /root/tse-pins /home/kasse-01/pins\n"
                 "runuser -u kasse-01 -- tillbridge-pos --stick /media/tse-kasse-01 receipt --client kasse-01 --amount 1.00 --pins /home/kasse-01/pins\n"
                 "! runuser -u nobody -- ls /media/tse-kasse-01")
    shop.note("the till's user signed a receipt, and nobody else can look into its folder")


def operating(shop, tse, disk):
    """docs/operating.md, from the daily look to a new till."""
    server, till = shop.machines["usb-server"], shop.machines["till"]
    server.run("tillbridge till add kasse-03\ntillbridge till add kasse-07\n"
               "cat >>/etc/tillbridge/tillbridged.toml <<'END'\n\n[[simulated]]\nkind = \"mass-storage\"\nserial = \"5A2F00000002\"\nEND\n")
    status, doctor = shop.blocks("operating.md", "Every day")
    assert "kasse-01" in shop.type("operating.md", status)
    monitoring(shop)
    backup_and_restore(shop, tse, disk)
    replace, = shop.blocks("operating.md", "Replacing a stick")
    shop.type("operating.md", replace)
    moving_a_till(shop)
    audit(shop)

    # A new machine under the cashier's own account, which the doctor is to be asked about.
    line = guides.pairing_line(server.run("tillbridge till token kasse-01 --replace"), "the till")
    till.run(f"useradd kasse\ntillbridge pair {line} --user kasse")
    shop.type("operating.md", doctor)


def monitoring(shop):
    """The token opens /metrics to one who trusts the certificate that the guide names, and nothing opens it to anybody else."""
    server, till = shop.machines["usb-server"], shop.machines["till"]
    token, table, restart, alert, reload = shop.blocks("operating.md", "Monitoring")
    for block in (token, table, restart, alert, reload):
        shop.type("operating.md", block)
    server.until("journalctl -u tillbridged --since '-2 min' | grep 'configuration read again'", "the reload", PATIENCE_S)
    authority = base64.b64encode(till.run("cat /etc/tillbridge/till-identity/authority.pem").encode()).decode()
    server.run(f"base64 -d <<<{authority} >/root/authority.pem")

    def answer(header):
        return server.run(f"printf 'GET /metrics HTTP/1.1\\r\\nHost: usbserver\\r\\n{header}Connection: close\\r\\n\\r\\n' | "
                          "openssl s_client -quiet -connect usbserver:4712 -verify_hostname usbserver -verify_return_error -CAfile /root/authority.pem")

    secret = server.run("cat /etc/tillbridge/metrics.token").strip()
    assert re.search(r"^tillbridge_\w+", answer(f"Authorization: Bearer {secret}\\r\\n"), re.M), "there are no metrics"
    assert re.search(r"^HTTP/1.1 401 ", answer(""), re.M), "the metrics are open to everybody"
    assert server.run("stat --format %U:%G:%a /etc/tillbridge/metrics.token").strip() == "root:tillbridge:640"
    shop.note("metrics: with the token and the till's authority, and not without")


def backup_and_restore(shop, tse, disk):
    """A backup only slows a session down. A restore takes the server back, and the session has its sticks again."""
    server, terminal = shop.machines["usb-server"], shop.machines["terminal-server"]
    backup, restore = shop.blocks("operating.md", "Backup and restore")
    read = f"udevadm wait --timeout={PATIENCE_S} {disk}; dd if={disk} of=/dev/null bs=64k count=16 iflag=direct status=none"
    bus_place = terminal.run("basename $(dirname $(grep -l 5A2F0000000B /sys/bus/usb/devices/*/serial))").strip()
    tills = "tillbridge till list --json | grep -oE '\"(name|fingerprint)\":[^,}]*'"

    terminal.run(f"{read}; dmesg --clear")
    shop.type("operating.md", backup)
    terminal.run(read)
    kernel = terminal.run("dmesg")
    assert f" usb {bus_place}: " not in kernel, f"the backup disturbed the stick at {bus_place}:\n{kernel}"
    saved = server.run(f"{tills}; sha256sum /etc/tillbridge/tillbridged.toml")
    assert server.run("stat --format %a /root/tillbridge-backup.tar.gz").strip() == "600"

    server.run("tillbridge till add kasse-99; echo '# gone' >>/etc/tillbridge/tillbridged.toml")
    shop.type("operating.md", restore)
    assert server.run(f"{tills}; sha256sum /etc/tillbridge/tillbridged.toml") == saved, "the restored server is another one"
    terminal.run(read)
    # The simulated TSE is part of the server, so it was pulled each time.
    terminal.run(f"udevadm wait --timeout={PATIENCE_S} {tse}\nrunuser -u kasse-01 -- tillbridge-pos --stick /media/tse-kasse-01 receipt "
                 "--client kasse-01 --amount 1.00 --pins /home/kasse-01/pins")
    shop.note("the session read on over the backup, and signed again after the restore")


def moving_a_till(shop):
    server = shop.machines["usb-server"]
    new_machine, stolen, other_till = shop.blocks("operating.md", "Moving a till")
    guides.pairing_line(shop.type("operating.md", new_machine), "the new machine")
    shop.type("operating.md", stolen)
    shop.type("operating.md", other_till)
    mappings = server.run("tillbridge status")
    assert re.search(r"5A2F00000001\b.*kasse-03", mappings), mappings


def audit(shop):
    """The auditor's machine has the exported file and the public key, and nothing else of the server's."""
    server, till = shop.machines["usb-server"], shop.machines["till"]
    export, verify = shop.blocks("operating.md", "Kassen-Nachschau: audit")
    shop.type("operating.md", export)
    for file in ("/root/nachschau.jsonl", "/var/lib/tillbridge/audit/audit.pub"):
        till.run(f"base64 -d <<<{server.run(f'base64 -w 0 {file}').strip()} >/root/{file.rsplit('/', 1)[1]}")
    shop.type("operating.md", verify)
    till.run("sed -i '$s/[0-9a-f]\\{16\\}/0000000000000000/' nachschau.jsonl; ! tillbridge audit verify nachschau.jsonl --audit-key audit.pub")
