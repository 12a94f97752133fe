-- A database of version 1 with rows in every table, as it is written by nothing any more. Never changed.
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
COMMIT;
PRAGMA user_version = 1;
