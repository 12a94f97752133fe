-- The same at version 2.
PRAGMA application_id = 1413641076;
BEGIN;
CREATE TABLE migrations (
  version INTEGER PRIMARY KEY,
  applied INTEGER NOT NULL
) STRICT;
CREATE TABLE settings (
  key   TEXT PRIMARY KEY,
  value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE sticks (
  id                   TEXT PRIMARY KEY,
  vendor_id            INTEGER NOT NULL,
  product_id           INTEGER NOT NULL,
  serial               TEXT NOT NULL,
  by_port              INTEGER NOT NULL,
  port                 TEXT NOT NULL,
  product              TEXT NOT NULL,
  manufacturer         TEXT NOT NULL,
  label                TEXT NOT NULL,
  first_seen           INTEGER,
  last_seen            INTEGER,
  fingerprint_accepted TEXT NOT NULL,
  fingerprint_seen     TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE tills (
  name         TEXT PRIMARY KEY,
  label        TEXT NOT NULL,
  added        INTEGER NOT NULL,
  last_address TEXT NOT NULL,
  last_seen    INTEGER,
  state        TEXT NOT NULL CHECK (state IN ('awaited', 'enrolled', 'revoked')),
  note         TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE mappings (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  stick           TEXT NOT NULL REFERENCES sticks (id),
  till            TEXT NOT NULL REFERENCES tills (name),
  user            TEXT NOT NULL,
  terminal_server TEXT NOT NULL,
  position        INTEGER NOT NULL,
  reset           TEXT NOT NULL,
  pipeline        INTEGER NOT NULL,
  created         INTEGER NOT NULL,
  created_by      TEXT NOT NULL,
  reason          TEXT NOT NULL
) STRICT;
CREATE INDEX mappings_by_stick ON mappings (stick, position);
CREATE INDEX mappings_by_till ON mappings (till);
CREATE TABLE leases (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  stick           TEXT NOT NULL,
  till            TEXT NOT NULL,
  address         TEXT NOT NULL,
  user            TEXT NOT NULL,
  domain          TEXT NOT NULL,
  terminal_server TEXT NOT NULL,
  client_name     TEXT NOT NULL,
  software        TEXT NOT NULL,
  since           INTEGER NOT NULL,
  ended           INTEGER,
  why             TEXT NOT NULL,
  times_away      INTEGER NOT NULL,
  transfers       INTEGER NOT NULL,
  bytes_in        INTEGER NOT NULL,
  bytes_out       INTEGER NOT NULL
) STRICT;
CREATE INDEX leases_by_stick ON leases (stick, id);
CREATE INDEX leases_by_till ON leases (till, id);
CREATE INDEX leases_open ON leases (id) WHERE ended IS NULL;
INSERT INTO migrations VALUES(1,1764000000000000);
INSERT INTO settings VALUES('site','Filiale Köln');
INSERT INTO sticks VALUES('1209:0001:5A2F',4617,1,'5A2F',0,'1-1.4','TSE','Bundesdruckerei','Kasse vorn',1764000001000000,1764000002000000,'aa','bb');
INSERT INTO sticks VALUES('1209:0002@1-1.5',4617,2,'',1,'1-1.5','','','',NULL,NULL,'','');
INSERT INTO tills VALUES('kasse-07','Eingang',1764000000500000,'192.0.2.7',1764000003000000,'enrolled','links');
INSERT INTO tills VALUES('kasse-08','',1764000000600000,'',NULL,'awaited','');
INSERT INTO mappings VALUES(1,'1209:0001:5A2F','kasse-08','','',1,'soften',1,1764000004000000,'anna','gone again');
INSERT INTO mappings VALUES(2,'1209:0001:5A2F','kasse-07','anna','ts-1',1,'pass',0,1764000005000000,'anna','new till');
DELETE FROM mappings WHERE id = 1;
INSERT INTO leases VALUES(1,'1209:0001:5A2F','kasse-07','192.0.2.7:50000','anna','SHOP','ts-1','THIN7','tillbridge 0.1',1764000006000000,1764000007000000,'goodbye',2,1000,123456,654321);
INSERT INTO leases VALUES(2,'1209:0001:5A2F','kasse-07','192.0.2.7:50001','anna','SHOP','ts-1','THIN7','tillbridge 0.1',1764000008000000,NULL,'',0,7,8,9);
ALTER TABLE sticks ADD COLUMN blocked_until INTEGER;
ALTER TABLE leases ADD COLUMN errors INTEGER NOT NULL DEFAULT 0;
ALTER TABLE leases ADD COLUMN p50_us INTEGER;
ALTER TABLE leases ADD COLUMN p99_us INTEGER;
CREATE TABLE certificates (
  serial          TEXT NOT NULL,
  till            TEXT NOT NULL,
  fingerprint     TEXT PRIMARY KEY,
  key_fingerprint TEXT NOT NULL,
  not_before      INTEGER NOT NULL,
  not_after       INTEGER NOT NULL,
  issued          INTEGER NOT NULL,
  revoked         INTEGER,
  why             TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX certificates_by_till ON certificates (till);
CREATE TABLE tokens (
  hash    BLOB PRIMARY KEY,
  till    TEXT NOT NULL REFERENCES tills (name) ON DELETE CASCADE,
  stick   TEXT NOT NULL,
  created INTEGER NOT NULL,
  expires INTEGER NOT NULL,
  used    INTEGER,
  tries   INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX tokens_by_till ON tokens (till);
CREATE TABLE pending (
  key_fingerprint TEXT PRIMARY KEY,
  name            TEXT NOT NULL,
  address         TEXT NOT NULL,
  request         BLOB NOT NULL,
  first_seen      INTEGER NOT NULL,
  last_seen       INTEGER NOT NULL,
  state           TEXT NOT NULL CHECK (state IN ('waiting', 'approved', 'ignored')),
  till            TEXT NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO migrations VALUES(2,1765000000000000);
UPDATE sticks SET blocked_until = 1766000000000000 WHERE id = '1209:0002@1-1.5';
UPDATE leases SET errors = 3, p50_us = 900, p99_us = 12000 WHERE id = 1;
INSERT INTO certificates VALUES('01ab','kasse-07','f1','k1',1764000000000000,1771776000000000,1764000000000000,NULL,'');
INSERT INTO certificates VALUES('01ac','kasse-09','f2','k2',1764000000000000,1771776000000000,1764000000000000,1764500000000000,'stolen');
INSERT INTO tokens VALUES(x'000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f','kasse-08','1209:0001:5A2F',1765000000000000,1765000900000000,NULL,2);
INSERT INTO pending VALUES('k3','kasse-10','192.0.2.10',x'3082',1765000000000000,1765000100000000,'waiting','');
COMMIT;
PRAGMA user_version = 2;
