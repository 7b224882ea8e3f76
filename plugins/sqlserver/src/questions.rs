//! What the server is asked about itself and its tables: always in these words, with the names beside them as values.

/// The table or view of a name, which the server looks for where the login's names are looked for.
pub const FIND: &str = "SELECT s.name, o.name, RTRIM(o.type), (SELECT SUM(p.rows) FROM sys.partitions AS p \
    WHERE p.object_id = o.object_id AND p.index_id IN (0, 1)) FROM sys.objects AS o \
    JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.object_id = OBJECT_ID(@P1) AND o.type IN ('U', 'V')";

/// Its columns. A type of the user's own has the name of the system's type behind it.
pub const COLUMNS: &str = "SELECT c.name, COALESCE(b.name, t.name), CAST(c.max_length AS int), CAST(c.precision AS int), \
    CAST(c.scale AS int), CAST(c.is_nullable AS int), CAST(c.is_identity AS int), \
    CAST(CASE WHEN c.is_computed = 1 OR c.generated_always_type <> 0 THEN 1 ELSE 0 END AS int), \
    CAST(CASE WHEN c.default_object_id <> 0 THEN 1 ELSE 0 END AS int), c.collation_name, \
    CAST(COLLATIONPROPERTY(c.collation_name, 'CodePage') AS int) \
    FROM sys.columns AS c JOIN sys.types AS t ON t.user_type_id = c.user_type_id \
    LEFT JOIN sys.types AS b ON b.user_type_id = c.system_type_id \
    WHERE c.object_id = OBJECT_ID(@P1) ORDER BY c.column_id";

/// The columns of its unique indexes, those of the primary key first.
pub const UNIQUE: &str = "SELECT i.name, c.name, CAST(i.is_primary_key AS int) FROM sys.indexes AS i \
    JOIN sys.index_columns AS x ON x.object_id = i.object_id AND x.index_id = i.index_id AND x.is_included_column = 0 \
    JOIN sys.columns AS c ON c.object_id = x.object_id AND c.column_id = x.column_id \
    WHERE i.object_id = OBJECT_ID(@P1) AND i.is_unique = 1 AND i.has_filter = 0 AND i.is_disabled = 0 \
    ORDER BY i.is_primary_key DESC, i.index_id, x.key_ordinal";

/// The conditions that its rows are checked for.
pub const CHECKS: &str =
    "SELECT definition FROM sys.check_constraints WHERE parent_object_id = OBJECT_ID(@P1) AND is_disabled = 0";

/// What there is, for a name that is not there.
pub const TABLES: &str = "SELECT TOP (1000) CASE WHEN s.name = SCHEMA_NAME() THEN o.name ELSE s.name + N'.' + o.name END \
    FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id WHERE o.type IN ('U', 'V') \
    AND o.is_ms_shipped = 0 AND o.name <> N'_engine_commits' AND o.name NOT LIKE N'[_]engine[_]replace[_]%' ORDER BY 1";

/// The columns that a query gives, without running it.
pub const DESCRIBE: &str = "SELECT name, COALESCE(system_type_name, user_type_name), CAST(precision AS int), CAST(scale AS int), error_number, \
    error_message FROM sys.dm_exec_describe_first_result_set(@P1, @P2, 0) ORDER BY column_ordinal";

/// A table whose rows refer to those of another.
pub const REFERS: &str = "SELECT TOP (1) s.name + N'.' + o.name FROM sys.foreign_keys AS k \
    JOIN sys.objects AS o ON o.object_id = k.parent_object_id JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
    WHERE k.referenced_object_id = OBJECT_ID(@P1) AND k.parent_object_id <> k.referenced_object_id ORDER BY 1";

/// The tables of a schema whose names begin with something.
pub const BEGINNING: &str = "SELECT o.name FROM sys.objects AS o JOIN sys.schemas AS s ON s.schema_id = o.schema_id \
    WHERE o.type = 'U' AND s.name = @P1 AND LEFT(o.name, LEN(@P2)) = @P2";

/// Whether the login may do something with a table.
pub const MAY: &str = "SELECT HAS_PERMS_BY_NAME(@P1, N'OBJECT', @P2) AS may";

/// Where the login's tables are.
pub const SCHEMA: &str = "SELECT SCHEMA_NAME() AS [schema]";

/// Its version as it says it, such as `16.0.4135.4`.
pub const VERSION: &str = "SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128))";

/// Whether the database keeps old rows for those who ask for them.
pub const SNAPSHOTS: &str =
    "SELECT CAST(snapshot_isolation_state AS int) FROM sys.databases WHERE database_id = DB_ID()";

/// What time it is there, in UTC.
pub const NOW: &str = "SELECT CONVERT(nvarchar(27), SYSUTCDATETIME(), 121)";

/// Whether the transaction goes on: 1, it does; 0, there is none; -1, it can only be rolled back.
pub const STATE: &str = "SELECT CAST(XACT_STATE() AS int) AS [state]";

/// Whoever makes tables holds this lock: a second one would find half of what it looks for. Waits for a minute.
pub const LOCK: &str = "DECLARE @taken int; EXEC @taken = sp_getapplock @Resource = N'_engine_create', \
    @LockMode = 'Exclusive', @LockOwner = 'Session', @LockTimeout = 60000; SELECT @taken AS taken";

/// Lets it go.
pub const UNLOCK: &str = "EXEC sp_releaseapplock @Resource = N'_engine_create', @LockOwner = 'Session'";

/// The number of a row there.
pub const ROW: &str = "engine_row";
