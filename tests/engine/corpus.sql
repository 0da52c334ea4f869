-- One statement a line; each runs alone on a copy of SETUP in test_rules.py and is rolled back.
-- Each must have the same verdict, in the same words, on a real D1 engine and under hoox_tasks.rules.

-- tables
CREATE TABLE n (a, b, c)
CREATE TABLE IF NOT EXISTS t (a)
CREATE TABLE t (a)
CREATE TABLE n (id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT NOT NULL DEFAULT 'x')
CREATE TABLE n (a TEXT PRIMARY KEY, b) WITHOUT ROWID
CREATE TABLE n (a INTEGER, b TEXT, c REAL, d BLOB, e ANY) STRICT
CREATE TABLE n (a DATETIME) STRICT
CREATE TABLE n (a, b GENERATED ALWAYS AS (a * 2) STORED)
CREATE TABLE n (a, b AS (a || 'x') VIRTUAL)
CREATE TABLE n (a REFERENCES parent (id) ON DELETE CASCADE)
CREATE TABLE n (a CHECK (a > 0), b COLLATE NOCASE UNIQUE)
CREATE TABLE n (a DEFAULT (unixepoch()), b DEFAULT CURRENT_TIMESTAMP)
CREATE TABLE n (a CHECK (sqlite_version() > '1'))
CREATE TABLE n AS SELECT * FROM t
CREATE TABLE main.n (a)
CREATE TABLE temp.n (a)
CREATE TABLE other.n (a)
CREATE TABLE sqlite_n (a)
CREATE TABLE "quoted name" ("a b" TEXT)
CREATE TABLE [n] (`a` TEXT)
CREATE TABLE n ()
CREATE TABLE n (a, a)
DROP TABLE t
DROP TABLE nope
DROP TABLE IF EXISTS nope
DROP TABLE parent
DROP TABLE sqlite_schema
DROP TABLE child
ALTER TABLE t RENAME TO n
ALTER TABLE t RENAME COLUMN a TO n
ALTER TABLE t RENAME a TO b
ALTER TABLE t DROP COLUMN c
ALTER TABLE t DROP COLUMN id
ALTER TABLE t ADD COLUMN n TEXT
ALTER TABLE t ADD COLUMN n TEXT NOT NULL
ALTER TABLE t ADD COLUMN n TEXT NOT NULL DEFAULT ''
ALTER TABLE t ADD COLUMN n INTEGER DEFAULT (unixepoch())
ALTER TABLE t ADD COLUMN n CHECK (n > 0)
ALTER TABLE t ADD COLUMN n AS (a + 1)
ALTER TABLE t ADD COLUMN n AS (a + 1) STORED
ALTER TABLE parent RENAME TO n
ALTER TABLE nope RENAME TO n
ALTER TABLE v RENAME TO n
ALTER TABLE sqlite_schema RENAME TO n
ALTER TABLE t ALTER COLUMN a SET NOT NULL

-- indexes
CREATE INDEX n ON t (a)
CREATE UNIQUE INDEX n ON t (a, b DESC)
CREATE INDEX n ON t (lower(b)) WHERE a > 1
CREATE INDEX n ON t (random())
CREATE INDEX n ON t (date('now'))
CREATE INDEX IF NOT EXISTS t_a ON t (a)
CREATE INDEX temp.n ON t (a)
CREATE INDEX n ON nope (a)
CREATE INDEX n ON t (nope)
CREATE INDEX n ON t (concat(a, b))
DROP INDEX t_a
DROP INDEX nope
REINDEX
REINDEX t
REINDEX t_a
REINDEX nope

-- views
CREATE VIEW n AS SELECT a FROM t
CREATE VIEW n (x) AS SELECT a FROM t
CREATE TEMP VIEW n AS SELECT 1
CREATE VIEW n AS SELECT * FROM nope
CREATE VIEW n AS SELECT sqlite_version()
DROP VIEW v
DROP VIEW IF EXISTS nope
DROP VIEW t
SELECT * FROM v
INSERT INTO v VALUES (1)

-- triggers
CREATE TRIGGER n AFTER INSERT ON t BEGIN UPDATE t SET c = 1 WHERE id = NEW.id; END
CREATE TRIGGER n BEFORE UPDATE OF a ON t WHEN NEW.a < 0 BEGIN SELECT RAISE(ABORT, 'negative'); END
CREATE TRIGGER n INSTEAD OF INSERT ON v BEGIN INSERT INTO t (a) VALUES (NEW.a); END
CREATE TRIGGER n INSTEAD OF INSERT ON t BEGIN SELECT 1; END
CREATE TRIGGER n AFTER DELETE ON t BEGIN DELETE FROM child; DELETE FROM parent; END
CREATE TRIGGER n AFTER INSERT ON t BEGIN SELECT CASE WHEN NEW.a > 1 THEN 1 ELSE 2 END; END
CREATE TEMP TRIGGER n AFTER INSERT ON t BEGIN SELECT 1; END
CREATE TRIGGER n AFTER INSERT ON nope BEGIN SELECT 1; END
CREATE TRIGGER n AFTER INSERT ON sqlite_schema BEGIN SELECT 1; END
DROP TRIGGER guard
DROP TRIGGER nope
DROP TRIGGER IF EXISTS nope
INSERT INTO guarded VALUES (-1)
INSERT INTO guarded VALUES (1)
INSERT INTO d2 VALUES (1)
INSERT INTO d1 VALUES (1)

-- writing
INSERT INTO t (a, b) VALUES (1, 'x'), (2, 'y')
INSERT INTO t DEFAULT VALUES
INSERT INTO t SELECT id + 100, a, b, c FROM t
INSERT OR REPLACE INTO t (id, a) VALUES (1, 9)
INSERT OR IGNORE INTO t (id, a) VALUES (1, 9)
INSERT INTO t (id, a) VALUES (1, 9)
INSERT INTO t (id, a) VALUES (1, 9) ON CONFLICT (id) DO UPDATE SET a = excluded.a
INSERT INTO t (id, a) VALUES (1, 9) ON CONFLICT DO NOTHING
INSERT INTO t (id, a) VALUES (1, 9) ON CONFLICT (b) DO NOTHING
INSERT INTO t (a) VALUES (1) RETURNING id, a AS x
INSERT INTO t (a) VALUES (1, 2)
INSERT INTO t (nope) VALUES (1)
INSERT INTO nope VALUES (1)
INSERT INTO child VALUES (99, 99)
INSERT INTO sqlite_schema VALUES (1, 2, 3, 4, 5)
INSERT INTO strict_t VALUES ('x')
REPLACE INTO t (id, a) VALUES (1, 2)
UPDATE t SET a = a + 1
UPDATE t SET a = 1 WHERE id = 1 RETURNING *
UPDATE t SET (a, b) = (1, 'z') WHERE id = 2
UPDATE t SET a = p.id FROM parent AS p WHERE p.id = t.id
UPDATE t SET a = 1 ORDER BY id LIMIT 1
UPDATE t SET nope = 1
UPDATE sqlite_schema SET sql = 'x'
UPDATE sqlite_sequence SET seq = 100
DELETE FROM t
DELETE FROM t WHERE id IN (SELECT id FROM parent)
DELETE FROM t ORDER BY id LIMIT 1
DELETE FROM parent
DELETE FROM parent WHERE id = 1
DELETE FROM sqlite_sequence
DELETE FROM sqlite_schema
WITH x AS (SELECT 5 AS a) INSERT INTO t (a) SELECT a FROM x
WITH x AS (SELECT 1 AS id) DELETE FROM t WHERE id IN (SELECT id FROM x)
WITH x AS (INSERT INTO t (a) VALUES (1) RETURNING a) SELECT * FROM x

-- reading
SELECT 1
SELECT * FROM t
SELECT a, count(*) FROM t GROUP BY a HAVING count(*) > 0 ORDER BY 2 DESC LIMIT 1 OFFSET 0
SELECT DISTINCT b FROM t
SELECT t.*, p.id FROM t LEFT JOIN parent AS p USING (id)
SELECT * FROM t FULL OUTER JOIN parent AS p ON p.id = t.id
SELECT * FROM t NATURAL JOIN parent
SELECT rowid, oid, _rowid_ FROM t
SELECT "not a column" FROM t
SELECT nope FROM t
SELECT * FROM nope
SELECT * FROM main.t
SELECT * FROM temp.t
SELECT * FROM sqlite_schema
SELECT * FROM sqlite_master
SELECT * FROM sqlite_temp_schema
SELECT * FROM sqlite_temp_master
SELECT * FROM sqlite_sequence
SELECT * FROM sqlite_stat1
SELECT * FROM dbstat
SELECT * FROM sqlite_dbpage
SELECT * FROM sqlite_stmt
SELECT * FROM bytecode('SELECT 1')
SELECT * FROM tables_used('SELECT 1')
SELECT * FROM generate_series(1, 3)
SELECT * FROM json_each('[1,2]')
SELECT * FROM json_tree('{"a":[1]}')
SELECT * FROM t WHERE b LIKE 'o%' ESCAPE '!'
SELECT * FROM t WHERE b GLOB 'o*'
SELECT * FROM t WHERE b REGEXP 'o.*'
SELECT * FROM t WHERE b MATCH 'o'
SELECT CAST('1' AS INTEGER), CAST(1 AS TEXT), CAST(x'41' AS TEXT)
SELECT 1 WHERE 1 IS DISTINCT FROM NULL
SELECT CASE WHEN a > 1 THEN 'x' ELSE 'y' END FROM t
SELECT (SELECT max(a) FROM t), EXISTS (SELECT 1)
SELECT x'0102', 1e3, 0x1F, .5
SELECT 1_000
SELECT 9223372036854775808, -9223372036854775808
SELECT CURRENT_DATE, CURRENT_TIME, CURRENT_TIMESTAMP
SELECT 'a' || 'b', 5 % 3, 5 << 2, ~1, NOT 1
SELECT '{"a":1}' -> 'a', '{"a":1}' ->> 'a'
VALUES (1, 2), (3, 4)
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT * FROM n
WITH x AS MATERIALIZED (SELECT 1) SELECT * FROM x
WITH x AS NOT MATERIALIZED (SELECT 1) SELECT * FROM x
SELECT * FROM t INDEXED BY t_a WHERE a = 1
SELECT * FROM t INDEXED BY nope
SELECT * FROM (VALUES (1), (2))
SELECT * FROM t AS one, t AS two, t AS three
SELECT 1; 
SELECT 'it''s', "t"."a" FROM t
SELEC 1
SELECT
SELECT 'open
SELECT 1 FROM
EXPLAIN SELECT * FROM t
EXPLAIN QUERY PLAN SELECT * FROM t
EXPLAIN DELETE FROM t

-- windows
SELECT row_number() OVER (ORDER BY a) FROM t
SELECT rank() OVER w, dense_rank() OVER w, percent_rank() OVER w, cume_dist() OVER w FROM t WINDOW w AS (ORDER BY a)
SELECT ntile(2) OVER (ORDER BY a), lag(a) OVER (ORDER BY a), lead(a, 1, 0) OVER (ORDER BY a) FROM t
SELECT first_value(a) OVER w, last_value(a) OVER w, nth_value(a, 2) OVER w FROM t WINDOW w AS (ORDER BY id)
SELECT sum(a) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW EXCLUDE TIES) FROM t
SELECT sum(a) FILTER (WHERE a > 1) OVER (PARTITION BY b) FROM t
SELECT string_agg(b, '-') OVER (ORDER BY id ROWS 1 PRECEDING) FROM t
SELECT group_concat(b, '-') OVER (ORDER BY id RANGE UNBOUNDED PRECEDING) FROM t
SELECT row_number() FROM t
SELECT nope() OVER () FROM t

-- functions let through
SELECT abs(-1), sign(-2), round(1.5), round(1.234, 2), max(1, 2), min(1, 2)
SELECT changes(), total_changes(), last_insert_rowid()
SELECT char(65, 66), unicode('A'), hex('a'), quote('a'), typeof(1), length('é'), octet_length('é')
SELECT coalesce(NULL, 1), ifnull(NULL, 1), nullif(1, 1), iif(1, 2, 3)
SELECT concat('a', NULL, 1), concat_ws('-', 'a', NULL, 'b')
SELECT concat()
SELECT concat_ws('-')
SELECT format('%d', 1), printf('%s', 'a')
SELECT glob('a*', 'abc'), like('a%', 'abc'), like('a%', 'abc', '!')
SELECT instr('abc', 'b'), substr('abc', 2), substring('abc', 1, 1), replace('aa', 'a', 'b')
SELECT lower('A'), upper('a'), trim(' a '), ltrim(' a'), rtrim('a '), trim('xax', 'x')
SELECT likelihood(1, 0.5), likely(1), unlikely(1)
SELECT length(randomblob(4)), typeof(random()), zeroblob(2), soundex('Robert')
SELECT unhex('4142'), unhex('41-42', '-'), unhex('4')
SELECT unhex()
SELECT octet_length()
SELECT load_extension('x')
SELECT avg(a), count(a), count(*), sum(a), total(a), max(a), min(a) FROM t
SELECT group_concat(b), group_concat(b, ';'), string_agg(b, ';') FROM t
SELECT group_concat(DISTINCT b) FROM t
SELECT string_agg(b) FROM t
SELECT group_concat(b, ',' ORDER BY b DESC) FROM t
SELECT count(DISTINCT a) FILTER (WHERE a > 0) FROM t
SELECT acos(1), acosh(1), asin(0), asinh(0), atan(0), atan2(0, 1), atanh(0), ceil(1.2), floor(1.2)
SELECT cos(0), cosh(0), degrees(0), exp(0), ln(1), log(10), log(2, 8), log2(8), mod(5, 3), pi(), pow(2, 3)
SELECT radians(0), sin(0), sinh(0), sqrt(4), tan(0), tanh(0), trunc(1.7)
SELECT date('now'), time('now'), datetime(0, 'unixepoch'), julianday('2024-01-01'), unixepoch('2024-01-01')
SELECT strftime('%Y-%m-%d', '2024-01-01'), timediff('2024-02-01', '2024-01-01')
SELECT strftime('%F %T', '2024-01-01')
SELECT unixepoch('now', 'subsec')
SELECT date('2024-01-31', '+1 month', 'floor')
SELECT json('[1]'), json_array(1, 2), json_object('a', 1), json_quote('a'), json_valid('{}'), json_type('1')
SELECT json_array_length('[1]'), json_extract('{"a":1}', '$.a'), json_insert('{}', '$.a', 1)
SELECT json_patch('{}', '{"a":1}'), json_remove('[1]', '$[0]'), json_replace('{"a":1}', '$.a', 2), json_set('{}', '$.a', 1)
SELECT json_group_array(a), json_group_object(b, a) FROM t
SELECT json('{a:1}')
SELECT json('{')
SELECT json_extract('x', '$')
SELECT json_extract('{}', 'a')
SELECT jsonb('[1]')
SELECT jsonb_array(1)
SELECT jsonb_extract('[1]', '$[0]')
SELECT jsonb_insert('{}', '$.a', 1)
SELECT jsonb_object('a', 1)
SELECT jsonb_patch('{}', '{}')
SELECT jsonb_remove('[1]', '$[0]')
SELECT jsonb_replace('{}', '$.a', 1)
SELECT jsonb_set('{}', '$.a', 1)
SELECT jsonb_group_array(a) FROM t
SELECT jsonb_group_object(b, a) FROM t
SELECT rtreecheck('box')
SELECT rtreecheck('t')
SELECT ABS(-1), Lower('A')
SELECT "abs"(1)

-- functions refused or unknown
SELECT sqlite_version()
SELECT sqlite_source_id()
SELECT sqlite_compileoption_get(0)
SELECT sqlite_compileoption_used('x')
SELECT sqlite_offset(a) FROM t
SELECT sqlite_log(1, 'x')
SELECT ceiling(1.2)
SELECT power(2, 3)
SELECT log10(10)
SELECT if(1, 2, 3)
SELECT unistr('a')
SELECT unistr_quote('a')
SELECT json_pretty('{}')
SELECT json_error_position('{}')
SELECT json_array_insert('[1]', '$[0]', 2)
SELECT median(a) FROM t
SELECT percentile(a, 50) FROM t
SELECT max_scalar(1, 2)
SELECT nope(1)
SELECT regexp('a', 'b')
SELECT readfile('/etc/passwd')
SELECT writefile('/tmp/x', 'a')
SELECT edit('x')
SELECT eval('SELECT 1')
SELECT fts5_source_id()
SELECT fts5_locale('en', 'x')
SELECT fts3_tokenizer('simple')
SELECT optimize(words) FROM words
SELECT offsets(words) FROM words
SELECT subtype('x')
SELECT sha3('x')
SELECT decimal_add('1', '2')
SELECT sqlite_rename_table('main', 'table', 't', '', '', '', 0)
SELECT sqlite_drop_column(0, 'x', 0)
SELECT abs()
SELECT abs(1, 2)
SELECT lower(1, 2)
SELECT match('a', 'b')
SELECT highlight(1, 2, 3, 4)
SELECT bm25(t) FROM t
SELECT rank FROM t

-- pragmas
PRAGMA foreign_keys
PRAGMA foreign_keys = OFF
PRAGMA foreign_keys = ON
PRAGMA foreign_keys = 'yes'
PRAGMA foreign_keys(0)
PRAGMA foreign_keys = 2
PRAGMA foreign_keys = maybe
PRAGMA foreign_keys = nonsense
PRAGMA FOREIGN_KEYS = on
PRAGMA main.foreign_keys
PRAGMA defer_foreign_keys = TRUE
PRAGMA defer_foreign_keys
PRAGMA ignore_check_constraints = 1
PRAGMA legacy_alter_table = 0
PRAGMA legacy_alter_table = on
PRAGMA recursive_triggers = on
PRAGMA reverse_unordered_selects = off
PRAGMA case_sensitive_like = on
PRAGMA case_sensitive_like
PRAGMA table_info(t)
PRAGMA table_info('t')
PRAGMA table_info = t
PRAGMA table_info
PRAGMA table_info(nope)
PRAGMA table_xinfo(t)
PRAGMA table_list
PRAGMA table_list(t)
PRAGMA index_list(t)
PRAGMA index_list
PRAGMA index_info(t_a)
PRAGMA index_xinfo(t_a)
PRAGMA foreign_key_list(child)
PRAGMA foreign_key_list
PRAGMA foreign_key_check
PRAGMA foreign_key_check(child)
PRAGMA quick_check
PRAGMA quick_check(1)
PRAGMA quick_check(t)
PRAGMA quick_check(_cf_METADATA)
PRAGMA optimize
PRAGMA optimize(-1)
PRAGMA optimize(0x10002)
PRAGMA optimize(all)
PRAGMA data_version
PRAGMA data_version = 1
PRAGMA page_size
PRAGMA page_size = 512
PRAGMA page_count
PRAGMA max_page_count
PRAGMA freelist_count
PRAGMA user_version
PRAGMA user_version = 1
PRAGMA application_id
PRAGMA schema_version
PRAGMA integrity_check
PRAGMA journal_mode
PRAGMA journal_mode = wal
PRAGMA synchronous = off
PRAGMA writable_schema = on
PRAGMA writable_schema
PRAGMA trusted_schema = off
PRAGMA query_only = on
PRAGMA busy_timeout
PRAGMA cache_size
PRAGMA cache_size = 10
PRAGMA encoding
PRAGMA compile_options
PRAGMA database_list
PRAGMA collation_list
PRAGMA function_list
PRAGMA module_list
PRAGMA pragma_list
PRAGMA temp_store = memory
PRAGMA locking_mode
PRAGMA auto_vacuum
PRAGMA incremental_vacuum
PRAGMA wal_checkpoint
PRAGMA secure_delete
PRAGMA cell_size_check
PRAGMA automatic_index = off
PRAGMA analysis_limit
PRAGMA mmap_size
PRAGMA nonsense
PRAGMA nonsense = 1
SELECT * FROM pragma_table_info('t')
SELECT * FROM pragma_table_xinfo('t')
SELECT * FROM pragma_table_list
SELECT * FROM pragma_index_list('t')
SELECT m.name, c.name FROM sqlite_schema AS m, pragma_table_info('t') AS c LIMIT 3
SELECT * FROM pragma_foreign_key_list('child')
SELECT * FROM pragma_foreign_key_check
SELECT * FROM pragma_function_list
SELECT * FROM pragma_user_version
SELECT * FROM pragma_database_list
SELECT * FROM pragma_page_count
SELECT * FROM pragma_page_size
SELECT * FROM pragma_integrity_check
SELECT * FROM pragma_nonsense
SELECT * FROM pragma_table_info('_cf_METADATA')

-- transactions
BEGIN
BEGIN TRANSACTION
BEGIN IMMEDIATE
BEGIN EXCLUSIVE TRANSACTION
COMMIT
END TRANSACTION
ROLLBACK
SAVEPOINT s
RELEASE s
ROLLBACK TO s
EXPLAIN BEGIN

-- other files, other stores
ATTACH ':memory:' AS x
ATTACH DATABASE '/tmp/x.db' AS x
ATTACH '' AS temp2
DETACH x
DETACH main
VACUUM
VACUUM main
VACUUM INTO '/tmp/x.db'
CREATE TEMP TABLE n (a)
CREATE TEMPORARY TABLE IF NOT EXISTS n (a)
CREATE TEMP TABLE n AS SELECT 1
DROP TABLE temp.n
ANALYZE
ANALYZE t
ANALYZE main
ANALYZE sqlite_schema
ANALYZE nope
UPDATE sqlite_temp_schema SET sql = 'x'
DELETE FROM sqlite_temp_schema

-- virtual tables
CREATE VIRTUAL TABLE n USING fts5(a, b, tokenize = 'porter')
CREATE VIRTUAL TABLE n USING FTS5(a)
CREATE VIRTUAL TABLE n USING fts5(a, content = 't', content_rowid = 'id')
CREATE VIRTUAL TABLE n USING fts5(a, content = '')
CREATE VIRTUAL TABLE n USING fts5(a, tokenize = 'trigram')
CREATE VIRTUAL TABLE n USING fts5(a, tokenize = 'nonsense')
CREATE VIRTUAL TABLE n USING fts5vocab('words', 'row')
CREATE VIRTUAL TABLE n USING fts5vocab('words', 'instance')
CREATE VIRTUAL TABLE n USING rtree(id, a, b)
CREATE VIRTUAL TABLE n USING rtree_i32(id, a, b)
CREATE VIRTUAL TABLE n USING geopoly(a)
CREATE VIRTUAL TABLE n USING fts3(a)
CREATE VIRTUAL TABLE n USING fts4(a)
CREATE VIRTUAL TABLE n USING dbstat
CREATE VIRTUAL TABLE n USING csv(filename = '/etc/passwd')
CREATE VIRTUAL TABLE n USING json_each
CREATE VIRTUAL TABLE n USING nonsense(a)
CREATE VIRTUAL TABLE temp.n USING fts5(a)
CREATE VIRTUAL TABLE _cf_n USING fts5(a)
DROP TABLE words
ALTER TABLE words RENAME TO n
INSERT INTO words VALUES ('hello world')
INSERT INTO words (words) VALUES ('optimize')
INSERT INTO words (words) VALUES ('rebuild')
INSERT INTO words (words) VALUES ('integrity-check')
INSERT INTO words (words, rank) VALUES ('merge', 10)
INSERT INTO words (words) VALUES ('nonsense')
DELETE FROM words
UPDATE words SET word = 'bye' WHERE rowid = 1
SELECT * FROM words WHERE words MATCH 'hello'
SELECT * FROM words('hello')
SELECT *, rank FROM words WHERE words MATCH 'hel*' ORDER BY rank
SELECT highlight(words, 0, '[', ']'), snippet(words, 0, '[', ']', '...', 5), bm25(words) FROM words('hello')
SELECT * FROM words WHERE words MATCH 'AND'
SELECT * FROM words WHERE words MATCH 'nope: x'
SELECT * FROM words WHERE word = 'x'
SELECT * FROM words_data
SELECT * FROM words_content
SELECT * FROM words_config
INSERT INTO words_content VALUES (99, 'x')
DELETE FROM words_data
DROP TABLE words_data
SELECT * FROM box WHERE x0 >= 0 AND x1 <= 10
INSERT INTO box VALUES (2, 0, 1)
INSERT INTO box VALUES (3, 5, 1)
DELETE FROM box_node
DROP TABLE box

-- names that D1 keeps for itself
CREATE TABLE _cf_n (a)
CREATE TABLE _CF_n (a)
CREATE TABLE "_cf_n" (a)
CREATE TABLE _cfn (a)
CREATE TABLE a_cf_n (a)
CREATE INDEX _cf_n ON t (a)
CREATE VIEW _cf_n AS SELECT 1
CREATE TRIGGER _cf_n AFTER INSERT ON t BEGIN SELECT 1; END
ALTER TABLE t RENAME TO _cf_n
ALTER TABLE t RENAME TO "_CF_n"
ALTER TABLE t RENAME COLUMN a TO _cf_n
ALTER TABLE t ADD COLUMN _cf_n
SELECT 1 AS _cf_n
SELECT * FROM _cf_METADATA
SELECT key FROM _cf_METADATA
SELECT count(*) FROM _cf_METADATA
SELECT * FROM _CF_metadata
SELECT * FROM t WHERE id IN (SELECT key FROM _cf_METADATA)
INSERT INTO _cf_METADATA VALUES (5, 5)
UPDATE _cf_METADATA SET value = 1
DELETE FROM _cf_METADATA
DROP TABLE _cf_METADATA
ALTER TABLE _cf_METADATA RENAME TO n
CREATE INDEX n ON _cf_METADATA (value)
CREATE VIEW n AS SELECT * FROM _cf_METADATA
SELECT * FROM _cf_nope
DROP TABLE IF EXISTS _cf_nope
PRAGMA table_info(_cf_METADATA)
PRAGMA index_list(_cf_METADATA)
PRAGMA foreign_key_check(_cf_METADATA)
REINDEX _cf_METADATA
ANALYZE _cf_METADATA
